//! The remote endpoints that hold most entries, in words. Pure: numbers and names in, phrases and lines out.

use crate::analysis::owners::Owner;
use crate::model::conntrack::Class;
use crate::model::dump::{Gap, Source};
use crate::model::error::ReadError;

/// What is shown of the table.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// Most entries first.
    pub endpoints: Vec<Ranked>,
    /// Where the entries were read from, and why not from somewhere better.
    pub source: Option<Source>,
    /// Why the entries are not from ctnetlink.
    pub source_note: Option<String>,
    /// How much of the table was read.
    pub sample: Option<Sample>,
    /// The parts of the table that were not read although the reading came to its end.
    pub gaps: Vec<Gap>,
    /// Why the directions of a capture are not known.
    pub own_missing: Option<ReadError>,
    /// Whether entries may be missing or double, because the hash table was resized meanwhile.
    pub inexact: bool,
    /// Shares of the directions, largest first.
    pub directions: Vec<(&'static str, f64)>,
    /// Shares of the local services among all entries, largest first: `:443/tcp`.
    pub services: Vec<(String, f64)>,
    /// What else must be said: broken lines, processes that could not be seen.
    pub notes: Vec<String>,
    /// Why the names of owners may be missing or wrong, for line 1.
    pub names_incomplete: Option<String>,
}

/// A part that stands for the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Entries read.
    pub read: u64,
    /// Entries there are.
    pub total: u64,
    /// 95 % half-width of the largest share, 0 to 1; none where the part is not a fair sample.
    pub half_width: Option<f64>,
}

/// One endpoint.
#[derive(Debug, Clone, Default)]
pub struct Ranked {
    /// `to 10.0.3.7:6379/tcp`.
    pub label: String,
    /// Entries in the whole table, extrapolated where a sample was read.
    pub entries: u64,
    /// Of the table, 0 to 1.
    pub share: f64,
    /// Shares of its classes, largest first, 0 to 1.
    pub classes: Vec<(Class, f64)>,
    /// Who holds its sockets, most connections first.
    pub owners: Vec<Owner>,
    /// Its entries without a socket, by reason: the reason's words and how many.
    pub without_socket: Vec<(&'static str, u64)>,
}

impl Ranking {
    /// The phrase for line 1, the first one with everything that helps at night.
    ///
    /// None of them if the list says too little about the table.
    pub fn phrase(&self, index: usize) -> Option<String> {
        if self.gaps.iter().any(|gap| gap.forbids_findings()) {
            return None;
        }
        let endpoint = self.endpoints.get(index)?;
        let mut facts = Vec::new();
        if let Some((class, share)) = endpoint.classes.first() {
            facts.push(format!("{} {}", percent(*share), name(*class)));
        }
        if let Some(owner) = endpoint.owners.first() {
            let others = match endpoint.owners.len() {
                0 | 1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            facts.push(format!("{}{others}", holds(owner, " by")));
        }
        let facts = if facts.is_empty() {
            String::new()
        } else {
            format!(" ({})", facts.join(", "))
        };
        Some(format!("{} {}{facts}", endpoint.entries, endpoint.label))
    }

    /// What the numbers rest on, for line 1.
    pub fn basis(&self) -> Option<String> {
        let sample = self.sample.map(|sample| {
            let Sample {
                read,
                total,
                half_width,
            } = sample;
            match half_width {
                Some(half_width) => format!(
                    "of {read} sampled from {total}, +-{:.1}%",
                    half_width * 100.0
                ),
                None => format!("of the first {read} of {total}"),
            }
        });
        let source = match (self.source, &self.source_note) {
            (Some(Source::Netlink) | None, _) => None,
            (Some(source), Some(note)) => Some(format!("{source} ({note})")),
            (Some(source), None) => Some(source.to_string()),
        };
        let inexact = "inexact, the hash table was resized meanwhile".to_owned();
        let inexact = self.inexact.then_some(inexact);
        let names = self.names_incomplete.as_ref();
        let names = names.map(|why| format!("names incomplete: {why}"));
        let parts: Vec<String> = sample
            .into_iter()
            .chain(inexact)
            .chain(source)
            .chain(names)
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// One line for each endpoint.
    pub fn lines(&self) -> Vec<String> {
        let line = |(index, endpoint): (usize, &Ranked)| {
            let classes: Vec<String> = endpoint
                .classes
                .iter()
                .take(4)
                .map(|(class, share)| format!("{} {}", name(*class), percent(*share)))
                .collect();
            let mut parts = vec![
                format!("{}. {}", index + 1, endpoint.label),
                format!(
                    "{} {:.1}%",
                    plural(endpoint.entries, "entry", "entries"),
                    endpoint.share * 100.0
                ),
                classes.join(" "),
            ];
            parts.extend(endpoint.owners.iter().take(3).map(|owner| holds(owner, "")));
            if endpoint.owners.len() > 3 {
                parts.push(format!("{} more owners", endpoint.owners.len() - 3));
            }
            let without: Vec<String> = endpoint
                .without_socket
                .iter()
                .map(|(reason, n)| format!("{n} {reason}"))
                .collect();
            if !without.is_empty() {
                parts.push(format!("no socket: {}", without.join(" ")));
            }
            parts.retain(|part| !part.is_empty());
            parts.join(", ")
        };
        self.endpoints.iter().enumerate().map(line).collect()
    }

    /// One line about the whole table: directions and the services that are dialled here.
    pub fn overview(&self) -> Option<String> {
        let directions: Vec<String> = self
            .directions
            .iter()
            .filter(|(_, share)| *share > 0.0)
            .map(|(name, share)| format!("{name} {}", percent(*share)))
            .collect();
        let services: Vec<String> = self
            .services
            .iter()
            .map(|(service, share)| format!("{service} {}", percent(*share)))
            .collect();
        if directions.is_empty() {
            return None;
        }
        let dialled = if services.is_empty() {
            String::new()
        } else {
            format!(", dialled here: {}", services.join(" "))
        };
        Some(format!("{} of entries{dialled}", directions.join(" ")))
    }

    /// The local service most entries are aimed at, where most are inbound: `:443/tcp 88% of entries`.
    pub fn aim(&self) -> Option<String> {
        if self.gaps.iter().any(|gap| gap.forbids_findings()) {
            return None;
        }
        let (service, share) = self.services.first()?;
        (*share >= 0.5).then(|| format!("{service} {} of entries", percent(*share)))
    }
}

fn name(class: Class) -> &'static str {
    Class::ALL.get(class.index()).map_or("", |(_, name)| name)
}

/// A share without decimals, but never a 0 or a 100 that is not one.
fn percent(share: f64) -> String {
    let rounded = (share * 100.0).round();
    match rounded {
        _ if share > 0.0 && rounded < 1.0 => "under 1%".to_owned(),
        _ if share < 1.0 && rounded > 99.0 => "over 99%".to_owned(),
        _ => format!("{rounded:.0}%"),
    }
}

fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `sidekiq.service (ruby[812]) 412 connections 25 threads`; with `by`, the shorter form of line 1.
fn holds(owner: &Owner, by: &str) -> String {
    let connections = plural(owner.connections as u64, "connection", "connections");
    // known by its uid only, or not at all
    if owner.processes == 0 {
        return format!("{} {connections}", owner.who);
    }
    let threads = plural(owner.threads, "thread", "threads");
    let processes = match owner.processes {
        1 => String::new(),
        n => format!("{n} processes "),
    };
    let opened = match &owner.passed {
        Some(passed) if passed.connections == owner.connections => {
            format!(" (opened by {})", passed.user)
        }
        Some(passed) => format!(" ({} opened by {})", passed.connections, passed.user),
        None => String::new(),
    };
    let who = if by.is_empty() {
        owner.with_process()
    } else {
        owner.who.to_string()
    };
    format!("{who} {connections}{opened}{by} {processes}{threads}")
}
