//! The third stage: reads the entries, counts them, and finds the sockets and processes behind them.

use super::Deadlines;
use super::counting::{Read, count, wanted_expectations};
use super::last_look;
use super::ownership::{owners_of, raw_senders};
use super::port_use::{in_use, port_use, ports};
use super::verdict::Verdict;
use crate::analysis::census::{self, Census};
use crate::analysis::facts::Facts;
use crate::analysis::tally::Scale;
use crate::analysis::top::{Basis, SampledPart, TopTable};
use crate::cli::Options;
use crate::diagnosis::{Listed, PortUse};
use crate::judge::measure::TableNumbers;
use crate::model::dump::{Choice, DumpEnd, DumpSummary, Extent, Gap, Source};
use crate::model::error::ReadError;
use crate::model::readings::{Counts, Reading};
use crate::model::text::clean_path;
use crate::runtime::privilege;
use crate::source::enter_netns::{NetnsAccess, go_to};
use crate::source::entries::EntryQuery;

/// The result of the look into the table.
#[derive(Debug)]
pub(super) struct Table {
    /// The metrics of the table.
    pub(super) numbers: TableNumbers,
    /// The number of entries in a capture; none if the live table was read.
    pub(super) captured: Option<Reading<u32>>,
    /// The reason why no entry was read.
    pub(super) unavailable: Option<ReadError>,
    /// The endpoints that hold most entries, if somebody asked for them.
    pub(super) top: Option<TopTable>,
    /// The basis of the numbers.
    pub(super) basis: Basis,
    /// The basis of the diagnosis; none if the entries say too little.
    pub(super) facts: Option<Facts>,
    /// A list that is shorter than the count.
    pub(super) listed: Option<Listed>,
    /// The source ports in use of the pair that uses most of its range.
    pub(super) ports: Option<PortUse>,
    /// The source ports in use of the translated pair that a rule gives few ports.
    pub(super) dense_ports: Option<PortUse>,
    /// The place of the files of the namespace, if they show its settings.
    pub(super) settings_of: Option<std::path::PathBuf>,
    /// The entries are those of the last look of a recorder.
    pub(super) is_recorded: bool,
}

impl Table {
    /// Nothing could be read.
    pub(super) fn unavailable(why: ReadError, is_capture: bool) -> Self {
        Self {
            numbers: TableNumbers::unread(why.clone()),
            captured: is_capture.then(|| Err(why.clone())),
            unavailable: Some(why),
            top: None,
            basis: Basis::default(),
            facts: None,
            listed: None,
            ports: None,
            dense_ports: None,
            settings_of: None,
            is_recorded: false,
        }
    }
}

/// Reads the table of the namespace that decides, or a capture.
pub(super) fn read(options: &Options, verdict: &Verdict, deadlines: Deadlines) -> Table {
    let is_capture = options.table.is_some();
    if options.source == Choice::Recording && !is_capture {
        return last_look::read(options, verdict);
    }
    let netns = &verdict.deciding.netns.namespace;
    let place = match netns.seen {
        Some(seen) if !netns.own => go_to(&options.proc_root, options.is_live(), seen),
        _ => Ok(NetnsAccess::own(&options.proc_root, options.is_live())),
    };
    // it is entered by now, or cannot be
    privilege::give_up(privilege::ENTER);
    let wanted = place.map(|place| wanted(options, verdict, place, deadlines));
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(why) => return last_look::or(options, verdict, why),
    };
    // the dump of the entries gives up the privilege that this one needs too
    let expectations = wanted_expectations(options, &wanted);
    let table = match count(options, &wanted) {
        Ok(read) => analyse(options, verdict, wanted, read, deadlines),
        Err(why) => last_look::or(options, verdict, why),
    };
    Table {
        numbers: TableNumbers {
            expectations,
            ..table.numbers
        },
        ..table
    }
}

fn wanted(
    options: &Options,
    verdict: &Verdict,
    place: NetnsAccess,
    deadlines: Deadlines,
) -> EntryQuery {
    let count = verdict.readings().count.as_ref().copied();
    let count = count.unwrap_or_default();
    EntryQuery {
        proc_root: options.proc_root.clone(),
        place,
        elsewhere: verdict
            .sharing
            .map(|all| all.saturating_sub(u64::from(count))),
        choice: options.source,
        extent: Extent {
            sample: options.sample,
            // what is not listed must not alarm
            count_on: options.thresholds.need_table(),
        },
        count,
        deadline: deadlines.reading,
        is_recorded: last_look::survey(options, verdict).is_ok(),
    }
}

/// Makes of the counted entries what the later stages use.
fn analyse(
    options: &Options,
    verdict: &Verdict,
    wanted: EntryQuery,
    read: Read,
    deadlines: Deadlines,
) -> Table {
    let Read {
        listing,
        why,
        tally,
        scale,
        own_error,
        at,
    } = read;
    let is_capture = options.table.is_some();
    let count = verdict.readings().count.as_ref().ok().copied();
    let of_kernel = matches!(listing.source, Source::Netlink | Source::Procfs);
    let gaps = listing.gaps(count.filter(|_| of_kernel));
    let hidden = gaps.iter().find(|gap| gap.hides_the_numbers());
    let hidden = hidden.map(|gap| ReadError::Incomplete(*gap));
    let own_missing =
        (is_capture && tally.read() > 0 && !tally.knows_own()).then_some(ReadError::OwnMissing {
            given: !options.own.is_empty(),
        });
    let of_live = count.filter(|_| !is_capture).unwrap_or_default();
    let census = Census::new(&tally, options.top.unwrap_or_default(), scale, of_live);
    let ports = ports(&tally, scale);
    let counts = counts(&listing, why.as_ref(), hidden.as_ref()).map(|()| Counts {
        own_unknown: own_missing.clone().or_else(|| own_error.clone()),
        ports: in_use(&tally, scale),
        ..census::counts(&tally, &census, scale)
    });
    let owners_wanted = options.top.is_some() && !is_capture;
    let mut basis = basis(&listing, why, scale, &census);
    basis.gaps.clone_from(&gaps);
    if own_missing.is_none() && options.top.is_some() {
        let unknown = own_error.map(|error| format!("own addresses unknown: {error}"));
        basis.notes.extend(unknown);
    }
    basis.own_missing = own_missing;
    let search = owners_wanted.then(|| {
        let wanted = EntryQuery {
            deadline: deadlines.owners,
            ..wanted.clone()
        };
        owners_of(&tally, &census, scale, &wanted, at)
    });
    if let Some(search) = &search {
        basis.names_incomplete.clone_from(&search.names_incomplete);
        basis.notes.extend(search.note.clone());
    }
    basis.notes.extend(not_entered(options, &wanted.place));
    let owned = search.as_ref().map(|search| search.of_groups.as_slice());
    let enough = (listing.source != Source::Sockets || scale.read >= u64::from(wanted.count) / 2)
        && !gaps.iter().any(|gap| gap.forbids_findings());
    // a few sockets say nothing about a table that is full of something else
    let facts = enough.then(|| {
        let facts = census::facts(&tally, &census, owned, scale);
        with_raw_senders(facts, owners_wanted.then_some(&wanted), deadlines)
    });
    let shown = options.top.is_some() || is_capture;
    Table {
        numbers: TableNumbers {
            counts,
            ..TableNumbers::unread(ReadError::NotReached)
        },
        captured: is_capture.then(|| captured(&listing, scale, hidden)),
        unavailable: None,
        top: shown.then(|| census::top(&tally, &census, owned, scale)),
        basis,
        facts,
        listed: gaps.iter().find_map(listed),
        ports,
        dense_ports: tally.dense_ports().map(|dense| port_use(dense, scale)),
        settings_of: (wanted.place.net_root == options.proc_root && options.max.is_none())
            .then(|| options.proc_root.clone()),
        is_recorded: false,
    }
}

/// The facts with the processes that send packets without a socket of TCP or UDP, if some seem to.
fn with_raw_senders(facts: Facts, wanted: Option<&EntryQuery>, deadlines: Deadlines) -> Facts {
    let Some(wanted) = wanted.filter(|_| facts.lacks_senders()) else {
        return facts;
    };
    let wanted = EntryQuery {
        deadline: deadlines.owners,
        ..wanted.clone()
    };
    Facts {
        raw_senders: raw_senders(&wanted),
        ..facts
    }
}

/// A list that is shorter than the count.
fn listed(gap: &Gap) -> Option<Listed> {
    match gap {
        Gap::Listed { listed, count } => Some(Listed {
            listed: *listed,
            count: *count,
        }),
        _ => None,
    }
}

/// True if the entries say how many of each class there are.
///
/// # Errors
/// The reason why they do not.
fn counts(
    listing: &DumpSummary,
    why: Option<&ReadError>,
    hidden: Option<&ReadError>,
) -> Result<(), ReadError> {
    match (listing.source, &listing.end, hidden) {
        (Source::Sockets, ..) => Err(match why {
            Some(
                why @ (ReadError::DumpWouldStall { .. }
                | ReadError::NotEntered { .. }
                | ReadError::NothingParsed { .. }),
            ) => why.clone(),
            _ => ReadError::OnlySockets,
        }),
        (Source::Capture, DumpEnd::Failed(error), _) => Err(error.clone()),
        (Source::Capture, DumpEnd::TimeUp, _) => Err(ReadError::CaptureUnfinished),
        (_, _, Some(hidden)) => Err(hidden.clone()),
        (_, _, None) => Ok(()),
    }
}

/// The number of entries in a capture: a part of it says nothing about how many it holds.
fn captured(listing: &DumpSummary, scale: Scale, hidden: Option<ReadError>) -> Reading<u32> {
    match (&listing.end, hidden) {
        (DumpEnd::Failed(error), _) => Err(error.clone()),
        (DumpEnd::TimeUp, _) => Err(ReadError::CaptureUnfinished),
        (DumpEnd::Whole | DumpEnd::Sampled, Some(hidden)) => Err(hidden),
        (DumpEnd::Whole | DumpEnd::Sampled, None) => {
            Ok(u32::try_from(scale.total).unwrap_or(u32::MAX))
        }
    }
}

fn basis(listing: &DumpSummary, why: Option<ReadError>, scale: Scale, census: &Census) -> Basis {
    let is_fair = listing.source != Source::Sockets;
    Basis {
        source: Some(listing.source),
        read: scale.read,
        // the whole table was read all the same
        why: why.filter(|why| {
            let not_entered = matches!(why, ReadError::NotEntered { .. });
            !not_entered || listing.source == Source::Sockets
        }),
        sample: scale.is_sample().then(|| SampledPart {
            read: scale.read,
            total: scale.total,
            half_width: is_fair.then(|| census::half_width_of_largest(census, scale)),
        }),
        inexact: listing.inexact,
        notes: notes(listing),
        ..Basis::default()
    }
}

fn not_entered(options: &Options, place: &NetnsAccess) -> Option<String> {
    let needs = match &place.not_entered {
        Some(ReadError::NotEntered { needs }) if options.top.is_some() => needs,
        _ => return None,
    };
    Some(format!(
        "read from {}/net, entering the network namespace needs {needs}",
        clean_path(&place.net_root.to_string_lossy())
    ))
}

fn notes(listing: &DumpSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if listing.broken > 0 && listing.source != Source::Netlink {
        notes.push(format!(
            "lines that could not be parsed: {}",
            listing.unread
        ));
    }
    match &listing.end {
        DumpEnd::Whole | DumpEnd::Sampled => {}
        // line 1 says it
        DumpEnd::TimeUp | DumpEnd::Failed(_) if listing.source == Source::Capture => {}
        DumpEnd::TimeUp => notes.push(
            "timed out reading the table, the entries read so far are used as a sample".to_owned(),
        ),
        DumpEnd::Failed(error) => notes.push(format!(
            "reading the table failed part-way, using the entries read so far: {error}"
        )),
    }
    notes
}
