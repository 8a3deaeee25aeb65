//! The lines below line 1 that belong to a finding: why it happens, what buys time, what mends it, what to look at.

mod commands;
mod connections;
mod crowd;
mod limits;
mod rest;
mod unanswered;

use crate::diagnosis::relief::Relief;
use crate::diagnosis::{Actor, Finding};
use crate::model::timeouts::Timeouts;
use crate::report::sentence_parts::{AddressNames, SentenceParts};
use commands::{LONGEST_LINE, larger_limit, who_connects};

/// The basis of the lines besides the finding.
#[derive(Debug, Clone, Copy)]
pub struct AdviceContext<'a> {
    /// Names of addresses of containers.
    pub names: &'a AddressNames,
    /// Timeouts of the kernel.
    pub timeouts: Timeouts,
    /// A larger limit, if the table fills and memory permits one.
    pub relief: Option<Relief>,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
    /// True if a larger limit mends what was crossed.
    pub limit_is_near: bool,
    /// True if nf_conntrack_max and nf_conntrack_buckets can be set where this check runs: they belong to the first
    /// network namespace, and to root of the first user namespace.
    pub sets_limits: bool,
    /// The entries come from a capture: no command helps the host that runs this check.
    pub capture: bool,
    /// A process in the network namespace of the finding, if it is not the one of this check.
    pub netns: Option<i32>,
}

impl AdviceContext<'_> {
    /// A command as the reader types it on the host: it acts in the network namespace of the finding.
    fn inside(&self, command: &str) -> String {
        inside(self.netns, command)
    }
}

/// A command that acts in the network namespace of a process; without a process, in the one of the reader.
pub fn inside(netns: Option<i32>, command: &str) -> String {
    match netns {
        Some(pid) => format!("nsenter -t {pid} -n {command}"),
        None => command.to_owned(),
    }
}

/// The lines, each without its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    /// The reason why it happens.
    pub why: Option<String>,
    /// One command that buys time.
    pub now: Option<String>,
    /// The command or change that mends it.
    pub fix: Option<String>,
    /// One command that shows what the check could not see.
    pub look: Option<String>,
}

impl Advice {
    /// True if names that lose nothing leave each line short enough.
    fn is_short(&self) -> bool {
        let lines = [&self.why, &self.fix].into_iter().flatten();
        lines.map(String::len).all(|length| length <= LONGEST_LINE)
    }
}

/// The advice for a finding; without one, the larger limit alone.
pub fn advice(finding: Option<&Finding>, basis: AdviceContext<'_>) -> Advice {
    let words = |parts| finding.map(|finding| of_finding(finding, basis, &parts));
    let mut advice = words(SentenceParts::whole(basis.names))
        .filter(Advice::is_short)
        .or_else(|| words(SentenceParts::brief(basis.names)))
        .unwrap_or_default();
    if advice.now.is_none() && raising_helps(finding) {
        advice.now = basis.relief.as_ref().map(larger_limit);
    }
    if !basis.sets_limits {
        advice.now = advice.now.map(on_the_host);
        advice.fix = advice
            .fix
            .map(|fix| fix.replacen("/etc/sysctl.d", "/etc/sysctl.d of the host", 1));
    }
    let program = || Some(basis.inside(&finding.and_then(unknown_program)?));
    advice.look = advice.look.or_else(program);
    if basis.capture {
        advice.now = None;
        advice.look = None;
    }
    advice
}

/// A command with the remark that it is one for the host, if it sets a limit of the host.
fn on_the_host(command: String) -> String {
    let limits = ["nf_conntrack_max=", "nf_conntrack_buckets="];
    if limits.iter().any(|limit| command.contains(limit)) {
        command.replacen(" (", " (on the host itself; ", 1)
    } else {
        command
    }
}

/// The command that shows the program of a finding that no socket names.
fn unknown_program(finding: &Finding) -> Option<String> {
    let (Finding::NoAnswer(flow) | Finding::NotReused(flow) | Finding::NotClosed(flow)) = finding
    else {
        return None;
    };
    matches!(flow.actor, Actor::ThisHost).then(|| who_connects(&flow.to))
}

/// True if a larger limit buys time: not if chains or source ports are the reason.
fn raising_helps(finding: Option<&Finding>) -> bool {
    !matches!(
        finding,
        Some(Finding::LongChains { .. } | Finding::PortsUsedUp(_) | Finding::NotConfigured(_))
    )
}

fn of_finding(finding: &Finding, basis: AdviceContext<'_>, words: &SentenceParts<'_>) -> Advice {
    match finding {
        Finding::LongChains {
            buckets, wanted, ..
        } => limits::long_chains(*buckets, *wanted),
        Finding::PortsUsedUp(ports) => limits::ports_used_up(ports, basis),
        Finding::NotConfigured(configured) => limits::not_configured(configured),
        Finding::NoAnswer(flow) => unanswered::no_answer(flow, basis, words),
        Finding::OneWay {
            port, both_ways, ..
        } => unanswered::one_way(*port, *both_ways, basis),
        Finding::Scan(sweep) => unanswered::scan(sweep, basis),
        Finding::Crowd(crowd) => crowd::crowd_of(crowd, basis, words),
        Finding::NotReused(flow) => connections::not_reused(flow, basis, words),
        Finding::KeptOpen(flow) => connections::kept_open(flow, words),
        Finding::OneClient(flow) => crowd::one_client(flow, basis, words),
        Finding::NotClosed(flow) => connections::not_closed(flow, basis, words),
        Finding::PeersVanished { .. } => connections::peers_vanished(basis),
        Finding::Dns { actor, traffic, .. } => rest::dns(actor, *traffic, basis, words),
        Finding::OneSided { .. } => unanswered::one_sided(),
        Finding::CountDisagrees(_) => rest::count_disagrees(basis),
        Finding::ManyFarEnds(ends) => rest::many_far_ends(ends, basis, words),
        Finding::NobodyStandsOut { holder, .. } => rest::nobody_stands_out(basis, holder.is_some()),
    }
}
