//! A simulation: random sequences of runs of three services on a host of three network namespaces, with a fault in many
//! of them. An account of every lost packet says what each run has to report, and that it is reported once.
//!
//! `SIMULATIONS=1000 cargo test --test suite judge::simulation` plays other sequences than the usual ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use check_conntrack::judge::assess::Policy;
use check_conntrack::judge::netns::{Bench, worst_first};
use check_conntrack::judge::threshold::Thresholds;
use check_conntrack::model::error::ReadError;
use check_conntrack::model::netns::{Compared, Observation, Walk};
use check_conntrack::pipeline::previous_run::{self, CheckedService, NextState};
use check_conntrack::runtime::privilege;
use check_conntrack::source::{self, procfs::netns};
use nagiosplugin::ServiceState;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::fs::{FlockOperation, flock};

use crate::common::{BUCKETS, COUNT, MAX, ProcRoot, STATISTICS_HEADER, statistics_row};

/// The processes whose network namespaces there are; that of process 1 is the own one.
const PIDS: [u32; 3] = [1, 70, 80];
/// `--netns self`, and two services of `--netns all`.
const SERVICES: [&str; 3] = ["own", "all", "all, too"];

/// An event on the host between two runs.
#[derive(Debug, Clone, Copy)]
enum Event {
    Nothing,
    /// A container is replaced: another namespace of the same process number.
    Replaced(usize),
    /// The last process of a namespace ends, and another one begins in it.
    Empty(usize),
    Entered(usize),
    /// The module is loaded anew.
    Reset,
    Reboot,
    /// The kernel has so many rows of counters.
    Processors(usize),
    /// The state is not what a run wrote.
    Damaged(usize),
    Removed(usize),
}

/// A fault of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The file of a namespace cannot be read.
    Unreadable(usize),
    /// The time is up before the other namespaces are reached.
    CutShort,
    KilledBeforeTheWrite,
    KilledBeforeTheRename,
    DiskFull,
    /// Another process holds locks on everything.
    Locked,
    /// The run ends after the next one of the same service.
    Overtaken,
}

#[derive(Debug, Clone)]
struct Step {
    /// Hundredths of a second.
    passes: u64,
    /// Packets: namespace, processor, column, how many.
    losses: Vec<(usize, usize, usize, u32)>,
    event: Event,
    service: usize,
    fault: Fault,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let passes = prop_oneof![
        1 => Just(0_u64),
        3 => 1..600_u64,
        6 => 600..60_000_u64,
        1 => Just(8 * 24 * 3600 * 100),
    ];
    let loss = (0..3_usize, 0..3_usize, 0..4_usize, 1..50_u32);
    let event = prop_oneof![
        12 => Just(Event::Nothing),
        2 => (1..3_usize).prop_map(Event::Replaced),
        2 => (1..3_usize).prop_map(Event::Empty),
        3 => (1..3_usize).prop_map(Event::Entered),
        1 => Just(Event::Reset),
        1 => Just(Event::Reboot),
        1 => (1..4_usize).prop_map(Event::Processors),
        1 => (0..3_usize).prop_map(Event::Damaged),
        1 => (0..3_usize).prop_map(Event::Removed),
    ];
    let fault = prop_oneof![
        8 => Just(Fault::None),
        2 => Just(Fault::Unreadable(0)),
        2 => (1..3_usize).prop_map(Fault::Unreadable),
        2 => Just(Fault::CutShort),
        1 => Just(Fault::KilledBeforeTheWrite),
        2 => Just(Fault::KilledBeforeTheRename),
        1 => Just(Fault::DiskFull),
        1 => Just(Fault::Locked),
        2 => Just(Fault::Overtaken),
    ];
    let step = (
        passes,
        prop::collection::vec(loss, 0..6),
        event,
        prop_oneof![3 => Just(0_usize), 3 => Just(1_usize), 1 => Just(2_usize)],
        fault,
    )
        .prop_map(|(passes, losses, event, service, fault)| Step {
            passes,
            losses,
            event,
            service,
            fault,
        });
    prop::collection::vec(step, 1..60)
}

/// A network namespace as it is.
#[derive(Debug, Clone)]
struct Netns {
    number: u64,
    counters: Vec<[u32; 4]>,
    /// Packets lost since it began.
    lost: u64,
    /// It grows when the counters are reset, or when the number of processors changes.
    era: u32,
    has_process: bool,
}

/// The last run of a service that counts for a namespace. A repetition within five seconds does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    at: u64,
    /// The packets that this run and those before it reported, or gave a reason for not reporting; nothing if none of
    /// them could read the counters.
    accounted: Option<u64>,
    era: u32,
    /// This run could read the counters.
    fresh: bool,
}

/// The knowledge of a service when its next run begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    boot: u32,
    /// When it saw every namespace.
    walked: Option<u64>,
    /// By the number of the namespace.
    marks: BTreeMap<u64, Mark>,
}

impl Account {
    fn last(&self) -> Option<u64> {
        self.marks.values().map(|mark| mark.at).max()
    }
}

struct World {
    root: ProcRoot,
    /// The content of its files.
    shown: RefCell<BTreeMap<String, String>>,
    state: tempfile::TempDir,
    now: u64,
    boot: u32,
    numbers: u64,
    namespaces: Vec<Netns>,
    /// The account of each service, and the file of its state.
    accounts: [Account; 3],
    files: [Option<PathBuf>; 3],
}

/// A run that has compared, and has not ended yet.
struct Started {
    service: usize,
    at: u64,
    next: Option<NextState>,
    /// The account when it began, and once it has ended.
    before: Account,
    after: Account,
}

const WEEK: u64 = 7 * 24 * 3600 * 100;
const REPETITION: u64 = 500;

impl World {
    fn new() -> Self {
        let root = ProcRoot::empty();
        root.file(COUNT, "100\n")
            .file(MAX, "1000\n")
            .file(BUCKETS, "1000\n");
        symlink("1", root.path().join("self")).unwrap();
        symlink("self/net", root.path().join("net")).unwrap();
        symlink("net:[4026531840]", root.join("1/ns/net")).unwrap();
        let mut world = Self {
            root,
            shown: RefCell::default(),
            state: tempfile::tempdir().unwrap(),
            now: 0,
            boot: 0,
            numbers: 0,
            namespaces: Vec::new(),
            accounts: Default::default(),
            files: Default::default(),
        };
        world.reboot();
        world
    }

    fn new_netns(&mut self, processors: usize) -> Netns {
        self.numbers += 1;
        Netns {
            number: self.numbers,
            counters: vec![[0; 4]; processors],
            lost: 0,
            era: 0,
            has_process: true,
        }
    }

    fn reboot(&mut self) {
        self.boot += 1;
        self.now = 1000;
        self.namespaces = (0..3).map(|_| self.new_netns(2)).collect();
        // it wraps soon
        self.namespaces[0].counters[0][0] = u32::MAX - 100;
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Nothing => {}
            Event::Replaced(n) => {
                let processors = self.namespaces[n].counters.len();
                self.namespaces[n] = self.new_netns(processors);
            }
            Event::Empty(n) => self.namespaces[n].has_process = false,
            Event::Entered(n) => self.namespaces[n].has_process = true,
            Event::Reset => {
                // a counter that is about to wrap looks as if it had
                let wraps = |row: &[u32; 4]| row.iter().any(|cell| *cell > 1 << 31);
                let steady = |netns: &&mut Netns| !netns.counters.iter().any(wraps);
                for netns in self.namespaces.iter_mut().filter(steady) {
                    netns.era += 1;
                    netns.counters.fill([0; 4]);
                }
            }
            Event::Reboot => self.reboot(),
            Event::Processors(n) => {
                for netns in &mut self.namespaces {
                    netns.era += u32::from(netns.counters.len() != n);
                    netns.counters.resize(n, [0; 4]);
                }
            }
            Event::Damaged(service) | Event::Removed(service) => {
                let Some(file) = &self.files[service] else {
                    return;
                };
                if let (Event::Damaged(_), Ok(mut text)) = (event, fs::read(file)) {
                    text.truncate(text.len() / 2);
                    fs::write(file, text).unwrap();
                } else {
                    let _ = fs::remove_file(file);
                }
                self.accounts[service] = Account::default();
            }
        }
    }

    /// Packets are lost, and with them counters increase. Only the first two columns count losses.
    fn lose(&mut self, losses: &[(usize, usize, usize, u32)]) {
        for &(n, processor, column, packets) in losses {
            let netns = &mut self.namespaces[n];
            let rows = netns.counters.len();
            let cell = &mut netns.counters[processor % rows][column];
            *cell = cell.wrapping_add(packets);
            if column < 2 {
                netns.lost += u64::from(packets);
            }
        }
    }

    /// Writes a file, unless that stands in it.
    fn file(&self, name: &str, text: String) {
        let mut shown = self.shown.borrow_mut();
        if shown.get(name) != Some(&text) {
            self.root.file(name, &text);
            shown.insert(name.to_owned(), text);
        }
    }

    /// The files are those of this moment.
    fn show(&self, unreadable: Option<usize>) {
        let seconds = format!("{}.{:02} 0.00\n", self.now / 100, self.now % 100);
        self.file("uptime", seconds);
        let boot = format!("{:08x}-5b1e-4a9c-8a55-0f1ff8d4b1c7\n", self.boot);
        self.file("sys/kernel/random/boot_id", boot);
        for (n, (pid, netns)) in PIDS.iter().zip(&self.namespaces).enumerate() {
            let names = ["stat/nf_conntrack", "netlink"].map(|name| format!("{pid}/net/{name}"));
            if !netns.has_process {
                let _ = fs::remove_dir_all(self.root.path().join(pid.to_string()));
                self.shown
                    .borrow_mut()
                    .retain(|name, _| !names.contains(name));
                continue;
            }
            let rows: String = netns
                .counters
                .iter()
                .map(|[d, c, e, i]| statistics_row(*d, *c, *e, *i))
                .collect();
            let text = match unreadable {
                Some(unreadable) if unreadable == n => "nonsense\n".to_owned(),
                _ => format!("{STATISTICS_HEADER}{rows}"),
            };
            let sockets = format!("sk Eth Pid Inode\n0 0 0 {}\n", netns.number);
            let [statistics, netlink] = &names;
            self.file(statistics, text);
            self.file(netlink, sockets);
        }
    }

    fn service(&self, service: usize, walk: Walk) -> CheckedService<'_> {
        CheckedService {
            directory: self.state.path(),
            writes: true,
            proc_root: self.root.path(),
            command_line: SERVICES[service],
            all: service > 0,
            walk,
            cookie_of: None,
        }
    }

    fn listed(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.state.path()).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// Begins a run: holds what it reports against the account.
    fn start(&self, service: usize, fault: Fault) -> Started {
        let unreadable = match fault {
            Fault::Unreadable(n) => Some(n),
            _ => None,
        };
        self.show(unreadable);
        let root = self.root.path();
        let readings = source::details(root, source::usage(root));
        let deadline = match fault {
            Fault::CutShort => Instant::now(),
            _ => Instant::now() + Duration::from_secs(600),
        };
        let observation = if service > 0 {
            netns::all(root, readings, deadline)
        } else {
            Observation::of_own(readings)
        };
        let (walk, unseen) = (observation.walk, observation.unseen.is_some());
        let comparison = previous_run::compare(
            self.service(service, walk),
            observation.own,
            observation.others,
        );
        let next = comparison.next;
        let namespaces: Vec<Compared> = std::iter::once(comparison.own)
            .chain(comparison.others)
            .collect();
        let known = self.known(service);
        let mut after = known.clone();
        let mut complete = walk == Walk::Complete;
        for (n, netns) in self.namespaces.iter().enumerate() {
            let pid = i32::try_from(PIDS[n]).unwrap();
            let found = namespaces.iter().find(|found| match found.namespace.seen {
                Some(seen) => seen.pid == pid,
                None => n == 0,
            });
            if let Some(found) = found {
                let readable = unreadable != Some(n);
                complete &= readable;
                let mark = self.judge(service, netns, found, unseen, readable, &known);
                after.marks.extend(mark.map(|mark| (netns.number, mark)));
            }
        }
        if complete {
            after.walked = Some(self.now);
        }
        Started {
            service,
            at: self.now,
            next,
            before: self.accounts[service].clone(),
            after,
        }
    }

    /// The account of a service, as far as a run of now may compare with it.
    fn known(&self, service: usize) -> Account {
        let account = self.accounts[service].clone();
        let recent = |at: u64| self.now - at <= WEEK;
        if account.boot != self.boot || !account.last().is_some_and(recent) {
            return Account {
                boot: self.boot,
                ..Account::default()
            };
        }
        Account {
            walked: account.walked.filter(|walked| recent(*walked)),
            ..account
        }
    }

    /// Holds what a run says of one namespace against what it has to say. The result is its mark in the account.
    fn judge(
        &self,
        service: usize,
        netns: &Netns,
        found: &Compared,
        unseen: bool,
        readable: bool,
        known: &Account,
    ) -> Option<Mark> {
        let said = found.change.clone().map(|change| change.lost());
        let first_run = matches!(said, Err(ReadError::NoBaseline { .. }));
        let now = Mark {
            at: self.now,
            accounted: readable.then_some(netns.lost),
            era: netns.era,
            fresh: readable,
        };
        let context = format!(
            "{} at {}: {netns:?}\nsaid {said:?}\n{known:?}",
            SERVICES[service], self.now
        );
        self.holds_the_state(found, unseen, readable, &context);
        if found.namespace.readings.count.is_err() {
            assert!(said.is_err() && !first_run, "{context}");
            return None;
        }
        let mark = known.marks.get(&netns.number);
        let new = || {
            let walked = known.walked.filter(|_| mark.is_none() && service > 0)?;
            Some(Mark {
                at: walked,
                accounted: Some(0),
                era: 0,
                fresh: true,
            })
        };
        let recent = |mark: &Mark| self.now - mark.at <= WEEK;
        let Some(last) = mark.copied().filter(recent).or_else(new) else {
            let is_first = known.marks.is_empty() || mark.is_some() || service == 0;
            let incomplete = said == Err(ReadError::PreviousRunIncomplete);
            assert!(if is_first { first_run } else { incomplete }, "{context}");
            return Some(now);
        };
        let repeats = self.now - last.at < REPETITION;
        let counts = readable && !(repeats && last.fresh);
        match last.accounted {
            // there is no time in between
            _ if last.at == self.now => {}
            Some(accounted) if counts && last.era == netns.era => {
                assert_eq!(said, Ok(Some(netns.lost - accounted)), "{context}");
            }
            // a reset is told where counters fell; else no more than what was lost
            Some(accounted) if counts => {
                let less = matches!(said, Ok(Some(said)) if said <= netns.lost - accounted);
                assert!(first_run || less, "{context}");
            }
            None if counts => assert_eq!(said, Ok(None), "{context}"),
            _ => {}
        }
        match (repeats, counts) {
            (true, false) => Some(last),
            (true, true) => Some(Mark { at: last.at, ..now }),
            // a new one, whose counters are left to the next run
            (false, false) if mark.is_none() => None,
            (false, false) => Some(Mark {
                at: self.now,
                fresh: false,
                ..last
            }),
            (false, true) => Some(now),
        }
    }

    /// A run that cannot say what was lost is UNKNOWN, but for a first run.
    fn holds_the_state(&self, found: &Compared, unseen: bool, readable: bool, context: &str) {
        let thresholds = Thresholds::parse(&[], &["lost=0".to_owned()]).unwrap();
        let ok = ServiceState::Ok;
        let bench = Bench {
            thresholds: &thresholds,
            policy: Policy {
                absent: ok,
                empty: ok,
            },
            sharing: None,
            others_unseen: unseen,
        };
        let (judged, _) = worst_first(found.clone(), Vec::new(), bench);
        let state = judged.assessment.state;
        let lost = found.change.as_ref().map(|change| change.lost());
        let expected = match lost {
            _ if !readable => ServiceState::Unknown,
            Ok(Some(1..)) => ServiceState::Critical,
            _ if unseen => ServiceState::Unknown,
            Ok(Some(0) | None) | Err(ReadError::NoBaseline { .. }) => ServiceState::Ok,
            Err(_) => ServiceState::Unknown,
        };
        assert_eq!(state, expected, "{context}");
    }

    /// Ends a run.
    fn end(&mut self, run: Started, fault: Fault) {
        let next = run.next.expect("a state directory");
        if fault == Fault::KilledBeforeTheWrite {
            return;
        }
        let directory = self.state.path().to_owned();
        let mode = |mode| fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        mode(if fault == Fault::DiskFull {
            0o500
        } else {
            0o700
        });
        let written = next.write();
        mode(0o700);
        let written = match written {
            Ok(Some(written)) => written,
            Ok(None) => return,
            Err(why) => {
                let full = matches!(why, ReadError::StateNotWritten { .. });
                assert!(full && fault == Fault::DiskFull, "{why}");
                return;
            }
        };
        assert_ne!(fault, Fault::DiskFull);
        if fault == Fault::KilledBeforeTheRename {
            drop(written);
            return;
        }
        written.keep();
        let new = |file: &PathBuf| {
            let known = self.files.iter().flatten().any(|known| known == file);
            !known && file.extension().is_none()
        };
        if let Some(file) = self.listed().into_iter().find(new) {
            self.files[run.service] = Some(file);
        }
        let account = &mut self.accounts[run.service];
        let overtaken =
            *account != run.before && account.boot == self.boot && account.last() >= Some(run.at);
        if !overtaken {
            *account = run.after;
        }
    }

    fn play(&mut self, step: &Step) {
        self.happens(step.event);
        self.now += step.passes;
        self.lose(&step.losses);
        let fault = step.fault;
        let locks: Vec<File> = if fault == Fault::Locked {
            let all = self.listed().into_iter().chain([self.state.path().into()]);
            all.map(|path| File::open(path).unwrap()).collect()
        } else {
            Vec::new()
        };
        for lock in &locks {
            flock(lock, FlockOperation::LockExclusive).unwrap();
        }
        let run = self.start(step.service, fault);
        if fault == Fault::Overtaken {
            self.now += step.passes / 2;
            self.lose(&step.losses);
            let later = self.start(step.service, Fault::None);
            self.end(later, Fault::None);
        }
        self.end(run, fault);
    }

    /// Two runs of every service without a fault: then nothing is left over, neither packets nor files.
    fn settles(&mut self) {
        for _ in 0..2 {
            self.now += 30_000;
            for service in 0..SERVICES.len() {
                let run = self.start(service, Fault::None);
                self.end(run, Fault::None);
            }
        }
        assert_eq!(self.listed().len(), SERVICES.len(), "{:?}", self.listed());
        for account in &self.accounts {
            for netns in self.namespaces.iter().filter(|netns| netns.has_process) {
                if let Some(mark) = account.marks.get(&netns.number) {
                    assert_eq!(mark.accounted, Some(netns.lost));
                }
            }
        }
    }
}

#[test]
fn every_lost_packet_is_reported_once_or_a_run_says_why_not() {
    let other = std::env::var("SIMULATIONS").ok();
    let config = Config {
        cases: other.as_ref().map_or(40, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    // the same ones each time
    let mut runner = match other {
        Some(_) => TestRunner::new(config),
        None => {
            let algorithm = RngAlgorithm::ChaCha;
            TestRunner::new_with_rng(config, TestRng::deterministic_rng(algorithm))
        }
    };
    // without capabilities a mode keeps root, too, from writing
    privilege::give_up_all();
    let outcome = runner.run(&steps(), |steps| {
        let mut world = World::new();
        for step in &steps {
            world.play(step);
        }
        world.settles();
        Ok(())
    });
    if let Err(why) = outcome {
        panic!("{why}");
    }
}
