//! The second stage: each network namespace is compared with the previous run and judged, and one of them decides.

use nagiosplugin::ServiceState;

use super::diagnosis;
use super::previous_run::{self, CheckedService, Comparison, NextState, Written};
use super::recorded::{self, Recorded};
use super::table::Table;
use super::told;
use crate::cli::{Netns, Options, TopWhen};
use crate::judge::assess::{Assessment, Policy, Subject, assess};
use crate::judge::measure::{Measurements, Numbers, TableNumbers};
use crate::judge::netns::{AssessedNetns, Bench, NetnsSummary, OtherNetns, worst_first};
use crate::model::error::ReadError;
use crate::model::netns::{Compared, Namespace, NetnsId, NetnsRepresentative, Observation, Walk};
use crate::model::readings::{Reading, Readings};
use crate::report::Report;
use crate::runtime::unsafe_calls;
use crate::source;
use crate::source::procfs::netns::resident;

/// As many lines about namespaces as an answer can have.
const MAX_NETNS_LINES: usize = 100;

/// The verdict, and what it rests on.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The namespace that decides.
    pub(super) deciding: AssessedNetns,
    /// The other namespaces, if all were to be judged.
    pub(super) overview: Option<NetnsSummary>,
    /// Entries of all namespaces, if all were counted.
    pub(super) sharing: Option<u64>,
    /// The reason why not every namespace could be seen.
    pub(super) unseen: Option<ReadError>,
    /// Lines about where the numbers come from, for `-vv`.
    pub(super) origin: Vec<String>,
    /// The recording of the namespace that decides.
    pub(super) recorded: Reading<Recorded>,
}

/// Compares and judges. The state for the next run is written too, but not in its place yet.
pub(super) fn judge(options: &Options, observation: Observation) -> (Verdict, Option<Written>) {
    let sharing = observation.entries_of_all();
    let (walk, unseen) = (observation.walk, observation.unseen);
    let service = CheckedService {
        directory: &options.state_dir,
        writes: options.writes,
        proc_root: &options.proc_root,
        command_line: &options.service,
        all: options.netns == Netns::All,
        walk,
        cookie_of: options.is_live().then_some(unsafe_calls::netns_cookie),
    };
    let comparison = previous_run::compare(service, observation.own, observation.others);
    let mut recorded = recorded::read(options, comparison.moment.clone());
    let mut of_others =
        recorded::read_others(options, comparison.moment.as_ref(), &comparison.others);
    let (own, others, written) = write(comparison);
    let own = with_peak(own, &mut recorded);
    let others = others.into_iter().zip(&mut of_others);
    let others: Vec<Compared> = others
        .map(|(netns, recorded)| with_peak(netns, recorded))
        .collect();
    let ids: Vec<Option<NetnsId>> = others
        .iter()
        .map(|netns| netns.namespace.id.clone().ok())
        .collect();
    let bench = Bench {
        thresholds: &options.thresholds,
        policy: policy(options),
        sharing,
        others_unseen: unseen.is_some(),
    };
    let (deciding, others) = worst_first(own, others, bench);
    let overview = (walk != Walk::NotDone).then(|| overview(options, &deciding, &others));
    let netns = &deciding.netns.namespace;
    let place = ids
        .iter()
        .position(|id| !netns.own && *id == netns.id.clone().ok());
    if let Some(place) = place {
        recorded = of_others.swap_remove(place);
    }
    // before this process may enter another namespace
    let origin = if options.verbosity > 1 {
        source::origin(&options.proc_root)
    } else {
        Vec::new()
    };
    let verdict = Verdict {
        deciding,
        overview,
        sharing,
        unseen,
        origin,
        recorded,
    };
    (verdict, written)
}

/// A namespace with the peak of its recording.
fn with_peak(netns: Compared, recorded: &mut Reading<Recorded>) -> Compared {
    let peak = match recorded {
        Ok(recorded) => recorded.peak(&netns.change),
        Err(why) => Err(why.clone()),
    };
    let readings = Readings {
        peak,
        ..netns.namespace.readings
    };
    let namespace = Namespace {
        readings,
        ..netns.namespace
    };
    Compared { namespace, ..netns }
}

/// Writes the state for the next run. A run that cannot write it has nothing to compare with as long as that lasts.
fn write(comparison: Comparison) -> (Compared, Vec<Compared>, Option<Written>) {
    let Comparison {
        own, others, next, ..
    } = comparison;
    match next.map(NextState::write) {
        Some(Ok(written)) => (own, others, written),
        None => (own, others, None),
        Some(Err(why)) => {
            let failed = |netns: Compared| Compared {
                change: Err(why.clone()),
                ..netns
            };
            let others = others.into_iter().map(failed).collect();
            (failed(own), others, None)
        }
    }
}

fn policy(options: &Options) -> Policy {
    Policy {
        absent: options.absent,
        empty: options.empty,
    }
}

/// The report on the namespaces besides the verdict on the deciding one.
fn overview(
    options: &Options,
    deciding: &AssessedNetns,
    others: &[Box<AssessedNetns>],
) -> NetnsSummary {
    let name = |judged: &AssessedNetns| resident(&options.proc_root, judged.netns.namespace.seen);
    let other = |(index, judged): (usize, &AssessedNetns)| OtherNetns {
        resident: match judged.netns.namespace.seen {
            // a name that could not be shown is not looked up
            Some(seen) if index >= MAX_NETNS_LINES => NetnsRepresentative {
                pid: Some(seen.pid),
                ..NetnsRepresentative::default()
            },
            _ => name(judged),
        },
        judged: judged.clone(),
    };
    let listed = if options.verbosity > 0 { others } else { &[] };
    NetnsSummary {
        number: others.len() + 1,
        is_host: source::is_host_netns(&options.proc_root),
        deciding: (!deciding.netns.namespace.own).then(|| name(deciding)),
        own: others
            .iter()
            .find(|judged| judged.netns.namespace.own)
            .map(|judged| judged.as_ref().clone()),
        losing: others
            .iter()
            .filter(|judged| judged.losses().is_some())
            .count(),
        others: listed
            .iter()
            .map(AsRef::as_ref)
            .enumerate()
            .map(other)
            .collect(),
    }
}

/// The report for a check that reaches its time limit before more than these numbers was read.
pub(super) fn early(options: &Options, first: &Readings) -> Report {
    let own = Observation::of_own(first.clone()).own;
    let netns = Compared {
        namespace: own,
        change: Err(ReadError::NotReached),
    };
    let all = options.netns == Netns::All;
    let bench = Bench {
        thresholds: &options.thresholds,
        policy: policy(options),
        sharing: None,
        others_unseen: all,
    };
    let (deciding, _) = worst_first(netns, Vec::new(), bench);
    let verdict = Verdict {
        deciding,
        overview: None,
        sharing: None,
        unseen: all.then_some(ReadError::NotReached),
        origin: Vec::new(),
        recorded: Err(ReadError::NotReached),
    };
    diagnosis::fallback(options, &verdict.without_table(options))
}

impl Verdict {
    /// The verdict on one namespace alone, for a recorder. `sharing` are the entries of all namespaces, if all were
    /// counted.
    pub(super) fn of_moment(options: &Options, netns: Compared, sharing: Option<u64>) -> Self {
        let bench = Bench {
            thresholds: &options.thresholds,
            policy: policy(options),
            sharing,
            others_unseen: false,
        };
        let (deciding, _) = worst_first(netns, Vec::new(), bench);
        let is_other = !deciding.netns.namespace.own;
        Self {
            overview: is_other.then(|| overview(options, &deciding, &[])),
            deciding,
            sharing,
            unseen: None,
            origin: source::origin(&options.proc_root),
            recorded: Err(ReadError::NotReached),
        }
    }

    /// The report for a check that reaches its time limit while the table is read. A run that ends early writes no
    /// baseline, so it is no first run either.
    pub(super) fn interrupted(&self, options: &Options) -> Report {
        let Compared { namespace, change } = self.deciding.netns.clone();
        let change = match change {
            Err(ReadError::NoBaseline { .. }) => Err(ReadError::NotReached),
            change => change,
        };
        let measurements = Measurements::of(Numbers {
            readings: &namespace.readings,
            change: &change,
            sharing: self.sharing,
        });
        let verdict = Self {
            deciding: AssessedNetns {
                netns: Compared { namespace, change },
                assessment: Assessment {
                    measurements,
                    ..self.deciding.assessment.clone()
                },
            },
            overview: self.overview.clone(),
            sharing: self.sharing,
            unseen: self.unseen.clone(),
            origin: Vec::new(),
            recorded: Err(ReadError::NotReached),
        };
        diagnosis::fallback(
            options,
            &verdict.judged_again(options, &TableNumbers::unread(ReadError::NotReached), None),
        )
    }

    /// The verdict with the whole recording, if the answer may say more of it than the peak.
    pub(super) fn with_whole_recording(self, options: &Options) -> Self {
        let judged = &self.deciding;
        let is_needed = options.verbosity > 0
            || judged.assessment.state != ServiceState::Ok
            || self.wants_table(options)
            || told::matters(&judged.assessment, judged.losses());
        if !is_needed {
            return self;
        }
        Self {
            recorded: self.recorded.and_then(Recorded::whole),
            ..self
        }
    }

    pub(super) fn readings(&self) -> &Readings {
        &self.deciding.netns.namespace.readings
    }

    /// True if the entries themselves are to be read on this run.
    pub(super) fn wants_table(&self, options: &Options) -> bool {
        if options.table.is_some() {
            return true;
        }
        let readings = self.readings();
        // there is nothing to read, and asking could load the module
        if !readings.tracks() || readings.count.is_err() {
            return false;
        }
        let for_the_list = match options.top_when {
            TopWhen::Always => true,
            TopWhen::Problem => self.deciding.assessment.state != ServiceState::Ok,
        };
        options.thresholds.need_table() || (options.top.is_some() && for_the_list)
    }

    /// The verdict if the table is not read: a range on it cannot be judged.
    pub(super) fn without_table(self, options: &Options) -> Self {
        if !options.thresholds.need_table() {
            return self;
        }
        let why = match &self.readings().count {
            Err(why) => why.clone(),
            Ok(_) => ReadError::NotReached,
        };
        self.judged_again(options, &TableNumbers::unread(why), None)
    }

    /// The verdict with the metrics of the table.
    pub(super) fn with_table(self, options: &Options, table: &Table) -> Self {
        self.judged_again(options, &table.numbers, table.captured.as_ref())
    }

    fn judged_again(
        self,
        options: &Options,
        table: &TableNumbers,
        captured: Option<&Reading<u32>>,
    ) -> Self {
        let Compared { namespace, change } = self.deciding.netns;
        let (readings, measured) = match captured {
            // the number of entries in a capture is known only now
            Some(count) => {
                let readings = Readings {
                    count: count.clone(),
                    ..namespace.readings
                };
                let measurements = Measurements::of(Numbers {
                    readings: &readings,
                    change: &change,
                    sharing: self.sharing,
                });
                (readings, measurements)
            }
            None => (namespace.readings, self.deciding.assessment.measurements),
        };
        let subject = Subject {
            readings: &readings,
            measurements: measured.with_table(table, &readings.limit),
            elapsed: change.as_ref().ok().map(|change| change.elapsed),
            others_unseen: self.unseen.is_some(),
        };
        let assessment = assess(subject, &options.thresholds, policy(options));
        let namespace = crate::model::netns::Namespace {
            readings,
            ..namespace
        };
        Self {
            deciding: AssessedNetns {
                netns: Compared { namespace, change },
                assessment,
            },
            ..self
        }
    }
}
