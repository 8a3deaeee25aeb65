//! The look into the table: reads entries, tallies them, finds who holds the sockets of the endpoints to be shown.
//!
//! Like [`crate::run`] it knows an order and nothing else: what opens is in `reading`, what counts in `tally`, what
//! speaks in `ranking`.

use std::time::Instant;

use crate::analysis::listening::Listening;
use crate::analysis::local_addresses::Own;
use crate::analysis::tally::{Attribution, Counting, Endpoint, Peer, Scale, Tally, half_width};
use crate::analysis::traffic::Direction;
use crate::cli::Options;
use crate::diagnosis::{EndpointFacts, Situation, TableFacts};
use crate::model::conntrack::{Class, Entry};
use crate::model::dump::{Choice, End, Listing, Source};
use crate::model::error::ReadError;
use crate::model::readings::{Counts, Readings};
use crate::model::text::clean_path;
use crate::report::endpoints::{Ranked, Ranking, Sample};
use crate::runtime::{privilege, unsafe_calls};
use crate::source::addresses::{Origin, addresses};
use crate::source::enter_netns::Place;
use crate::source::entries::{self, Wanted};
use crate::source::{Timeouts, timeouts};

mod ownership;

use ownership::{Ownership, ownership};

/// The local services that are named.
const SERVICES: usize = 3;
/// The endpoints that advice looks at.
const LOOKED_AT: usize = 10;

/// What the look into the table came to.
#[derive(Debug, Default)]
pub struct Survey {
    /// The endpoints, when somebody asked for them.
    pub ranking: Option<Ranking>,
    /// Why there are none although somebody asked.
    pub unavailable: Option<ReadError>,
    /// What advice can rest on.
    pub situation: Option<Situation>,
}

/// Reads entries until `deadline` and completes the readings with what they add up to; looks for who is behind them
/// until `owners_deadline`. `place` is where the entries are.
pub fn survey(
    options: &Options,
    readings: &mut Readings,
    place: Result<Place, ReadError>,
    deadline: Instant,
    owners_deadline: Instant,
) -> Survey {
    let place = match place {
        Ok(place) => place,
        Err(error) => return unavailable(error, readings),
    };
    let count = readings.count.as_ref().copied().unwrap_or_default();
    let mut wanted = Wanted {
        proc_root: options.proc_root.clone(),
        place,
        elsewhere: readings
            .sharing
            .map(|all| all.saturating_sub(u64::from(count))),
        choice: options.source,
        sample: options.sample,
        count,
        deadline,
    };
    let (own, own_error) = own_addresses(options, &wanted.place, deadline);
    let mut counting = counting(options, &wanted, own);
    let read = match &options.table {
        Some(capture) => {
            entries::from_capture(capture, options.sample, deadline, |entry: &Entry| {
                counting.add(entry)
            })
            .map(|listing| {
                let total = listing.seen;
                (listing, None, total)
            })
        }
        None => entries::entries(&wanted, |entry: &Entry| counting.add(entry)).map(|entries| {
            let total = match entries.listing.end {
                End::Whole => entries.listing.read,
                // what is there is at least what was read, whatever the count says by now
                _ => entries
                    .total
                    .unwrap_or(u64::from(wanted.count))
                    .max(entries.listing.read),
            };
            (entries.listing, entries.why, total)
        }),
    };
    let (listing, why, total) = match read {
        Ok(read) => read,
        Err(error) => return unavailable(error, readings),
    };
    let read_at = Instant::now();
    let tally = counting.finish();
    let of_kernel = matches!(listing.source, Source::Netlink | Source::Procfs);
    let gaps = listing.gaps(of_kernel.then_some(count));
    let hidden = gaps.iter().find(|gap| gap.hides_the_numbers());
    let hidden = hidden.map(|gap| ReadError::Incomplete(*gap));
    // no entry was seen before it ended: there is nothing to rank, and nobody to say who does not stand out
    if !readings.capture && tally.read() == 0 {
        match listing.end {
            End::TimeUp => return unavailable(ReadError::NotReached, readings),
            End::Failed(error) => return unavailable(error, readings),
            End::Whole | End::Sampled => {}
        }
    }
    wanted.deadline = owners_deadline;
    let scale = Scale {
        read: tally.read(),
        total,
    };
    // advice may be about one that is not shown
    let own_missing = (readings.capture && tally.read() > 0 && !tally.knows_own()).then_some(
        ReadError::OwnMissing {
            given: !options.own.is_empty(),
        },
    );
    let leading = tally.top(options.top.unwrap_or_default().max(LOOKED_AT));
    let top = leading.get(..options.top.unwrap_or(1)).unwrap_or(&leading);
    if readings.capture {
        // part of a capture says nothing about how many it holds
        readings.count = match (&listing.end, &hidden) {
            (End::Failed(error), _) => Err(error.clone()),
            (End::TimeUp, _) => Err(ReadError::CaptureUnfinished),
            (End::Whole | End::Sampled, Some(hidden)) => Err(hidden.clone()),
            (End::Whole | End::Sampled, None) => Ok(u32::try_from(total).unwrap_or(u32::MAX)),
        };
    }
    readings.table = match (listing.source, &listing.end) {
        (Source::Sockets, _) => Err(match &why {
            Some(
                why @ (ReadError::Crowded { .. }
                | ReadError::NotEntered { .. }
                | ReadError::NothingParsed { .. }),
            ) => why.clone(),
            _ => ReadError::OnlySockets,
        }),
        (Source::Capture, End::Failed(error)) => Err(error.clone()),
        (Source::Capture, End::TimeUp) => Err(ReadError::CaptureUnfinished),
        _ => match hidden {
            Some(hidden) => Err(hidden),
            None => Ok(Counts {
                own_unknown: own_missing.clone().or_else(|| own_error.clone()),
                ..counts(&tally, top, scale)
            }),
        },
    };
    // a capture's sockets are on another host, or gone
    let behind = if options.top.is_some() && !readings.capture {
        Some(ownership(&tally, top, scale, &wanted, read_at))
    } else {
        None
    };
    privilege::give_up_all();
    let mut facts = facts(&tally, &leading, scale);
    if let Some(behind) = &behind {
        facts.established_without_socket = if behind.incomplete {
            None
        } else {
            without_socket(top, &behind.attributions)
        };
        let dialler = top
            .iter()
            .zip(behind.owners.iter().zip(&behind.seen))
            .find(|(endpoint, _)| !is_client(endpoint));
        if let (Some(destination), Some((_, (owners, seen)))) = (&mut facts.destination, dialler) {
            // a uid has no connection pool
            let first = owners.iter().find(|owner| owner.processes > 0);
            destination.owner = first.map(|owner| owner.who.to_string());
            destination.seen = Some(*seen);
        }
    }
    // every namespace has its own, which are seen from inside only, and so has the host of a capture
    let timeouts = if wanted.place.net_root == options.proc_root && options.max.is_none() {
        timeouts(&options.proc_root)
    } else {
        Timeouts::default()
    };
    // a few sockets say nothing about a table that is full of something else
    let telling = (listing.source != Source::Sockets
        || tally.read() >= u64::from(wanted.count) / 2)
        && !gaps.iter().any(|gap| gap.forbids_findings());
    let situation = Situation {
        table: telling.then_some(facts),
        timeout_time_wait: timeouts.time_wait,
        timeout_established: timeouts.established,
        ..Situation::default()
    };
    let sample = scale.is_sample().then(|| Sample {
        read: scale.read,
        total: scale.total,
        // sockets come kind by kind, so the first ones are no fair sample
        half_width: (listing.source != Source::Sockets).then(|| {
            half_width(
                top.first().map_or(0.0, |largest| largest.share),
                scale.read,
                scale.total,
            )
        }),
    });
    // who asked for a range only is told what the numbers rest on all the same
    let basis = || Ranking {
        sample,
        notes: notes(&listing),
        gaps: gaps.clone(),
        own_missing: own_missing.clone(),
        inexact: listing.inexact,
        ..Ranking::default()
    };
    let ranking = options.top.is_some().then(|| {
        let mut notes = notes(&listing);
        if let Some(ReadError::NotEntered { needs }) = &wanted.place.not_entered {
            notes.push(format!(
                "read from {}/net, entering the network namespace needs {needs}",
                clean_path(&wanted.place.net_root.to_string_lossy())
            ));
        }
        if own_missing.is_none() {
            notes.extend(own_error.map(|error| format!("own addresses unknown: {error}")));
        }
        notes.extend(behind.as_ref().and_then(|behind| behind.note.clone()));
        let behind_names = behind
            .as_ref()
            .and_then(|behind| behind.names_incomplete.clone());
        Ranking {
            endpoints: ranked(top, scale, behind),
            source: Some(listing.source),
            // the whole table was read all the same
            source_note: why
                .filter(|why| {
                    let not_entered = matches!(why, ReadError::NotEntered { .. });
                    !not_entered || listing.source == Source::Sockets
                })
                .map(|why| reason(&why)),
            sample,
            directions: directions(&tally),
            services: tally
                .services(SERVICES)
                .iter()
                .map(|service| (service.to_string(), share(service.entries, scale.read)))
                .collect(),
            notes,
            gaps: gaps.clone(),
            own_missing: own_missing.clone(),
            names_incomplete: behind_names,
            inexact: listing.inexact,
        }
    });
    let something_to_say = readings.table.is_ok() || !gaps.is_empty();
    Survey {
        ranking: ranking.or_else(|| something_to_say.then(basis)),
        unavailable: None,
        situation: Some(situation),
    }
}

/// Ready to count, with what tells which side opened a connection.
fn counting(options: &Options, wanted: &Wanted, own: Own) -> Counting {
    let counting = Counting::new(own, options.aggregate);
    if options.table.is_some() {
        return counting.of_a_capture();
    }
    // sockets know whom they were opened by
    if options.source == Choice::Sockets {
        return counting;
    }
    match entries::listening(wanted) {
        Ok(sockets) => counting.with_listening(Listening::new(sockets)),
        Err(_) => counting.by_source_ports(),
    }
}

/// Nothing could be read.
fn unavailable(error: ReadError, readings: &mut Readings) -> Survey {
    privilege::give_up_all();
    if readings.capture {
        readings.count = Err(error.clone());
    }
    readings.table = Err(error.clone());
    Survey {
        unavailable: Some(error),
        ..Survey::default()
    }
}

/// The addresses that are this host's own, and the reason if some may be missing.
fn own_addresses(options: &Options, place: &Place, deadline: Instant) -> (Own, Option<ReadError>) {
    // a capture is from elsewhere once somebody says whose addresses are its own
    if options.table.is_some() && !options.own.is_empty() {
        return (Own::new([], options.own.clone()), None);
    }
    let origin = if place.live {
        Origin::Kernel(unsafe_calls::check_netlink_strictly)
    } else {
        Origin::Files(&place.net_root)
    };
    let found = addresses(origin, deadline);
    let networks = [options.own.as_slice(), &found.networks].concat();
    let own = Own::new(found.own, networks).with_broadcasts(found.received);
    (own, found.incomplete)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// In whole entries of the table. No table has more than 2^32 - 1, since its count is an int.
fn whole(count: u64, scale: Scale) -> u32 {
    u32::try_from(scale.extrapolate(count)).unwrap_or(u32::MAX)
}

fn counts(tally: &Tally, top: &[Endpoint], scale: Scale) -> Counts {
    let mut counts = Counts {
        largest_endpoint: top
            .first()
            .map_or(0, |largest| whole(largest.entries, scale)),
        unreplied: whole(tally.unreplied(), scale),
        evictable: whole(tally.evictable(), scale),
        ..Counts::default()
    };
    for (slot, (_, count)) in counts.classes.iter_mut().zip(tally.classes()) {
        *slot = whole(count, scale);
    }
    counts
}

fn is_client(endpoint: &Endpoint) -> bool {
    matches!(endpoint.peer, Peer::From { .. })
}

fn facts(tally: &Tally, top: &[Endpoint], scale: Scale) -> TableFacts {
    let of_class = |wanted| {
        tally
            .classes()
            .find(|(class, _)| *class == wanted)
            .map_or(0, |(_, count)| count)
    };
    let facts = |endpoint: &Endpoint| {
        let of_class = |wanted| {
            let found = endpoint.classes.iter().find(|(class, _)| *class == wanted);
            found.map_or(0, |(_, count)| *count)
        };
        // of all entries without a reply, those that cannot be another endpoint's
        let others = tally.read().saturating_sub(endpoint.entries);
        let silent = tally.unreplied().saturating_sub(others);
        let shown = endpoint.peer.to_string();
        EndpointFacts {
            name: shown.trim_start_matches("from ").to_owned(),
            is_network: matches!(
                endpoint.peer,
                Peer::From {
                    length: Some(_),
                    ..
                }
            ),
            forwarded: endpoint.forwarded,
            share: endpoint.share,
            time_wait: share(of_class(Class::TimeWait), endpoint.entries),
            unanswered: share(of_class(Class::SynSent).max(silent), endpoint.entries),
            unproven: share(
                of_class(Class::SynRecv) + endpoint.unreplied,
                endpoint.entries,
            ),
            entries: scale.extrapolate(endpoint.entries),
            owner: None,
            seen: None,
        }
    };
    TableFacts {
        destination: top.iter().find(|endpoint| !is_client(endpoint)).map(facts),
        client: top.iter().find(|endpoint| is_client(endpoint)).map(facts),
        // a flood of SYNs is answered by this side and never confirmed by theirs
        unanswered: share(
            tally.unreplied().max(of_class(Class::SynSent)) + of_class(Class::SynRecv),
            tally.read(),
        ),
        established: share(of_class(Class::Established), tally.read()),
        established_without_socket: None,
    }
}

/// Of the entries of the shown endpoints that ought to have a socket here, those that have none.
fn without_socket(top: &[Endpoint], attributions: &[Attribution]) -> Option<f64> {
    let entries: u64 = top.iter().map(|endpoint| endpoint.entries).sum();
    let excused: u64 = attributions
        .iter()
        .map(|a| a.unattributed.time_wait + a.unattributed.forwarded)
        .sum();
    let without: u64 = attributions.iter().map(|a| a.unattributed.other).sum();
    let expected = entries.saturating_sub(excused);
    (expected > 0).then(|| share(without, expected))
}

fn ranked(top: &[Endpoint], scale: Scale, behind: Option<Ownership>) -> Vec<Ranked> {
    let (attributions, owners) = match behind {
        Some(behind) => (behind.attributions, behind.owners),
        None => (Vec::new(), Vec::new()),
    };
    let attributions = attributions
        .into_iter()
        .map(Some)
        .chain(std::iter::repeat_with(|| None));
    let owners = owners.into_iter().chain(std::iter::repeat_with(Vec::new));
    let one = |((endpoint, attribution), owners): ((&Endpoint, Option<Attribution>), _)| {
        let classes = endpoint
            .classes
            .iter()
            .map(|(class, n)| (*class, share(*n, endpoint.entries)))
            .collect();
        Ranked {
            label: endpoint.to_string(),
            entries: scale.extrapolate(endpoint.entries),
            share: endpoint.share,
            classes,
            owners,
            without_socket: attribution
                .map(|attribution| reasons(&attribution, scale))
                .unwrap_or_default(),
        }
    };
    top.iter().zip(attributions).zip(owners).map(one).collect()
}

fn reasons(attribution: &Attribution, scale: Scale) -> Vec<(&'static str, u64)> {
    let left = attribution.unattributed;
    let reasons = [
        ("in TIME_WAIT", left.time_wait),
        ("forwarded", left.forwarded),
        ("held by no process", left.unheld),
        ("no socket left", left.other),
    ];
    reasons
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(reason, n)| (reason, scale.extrapolate(n)))
        .collect()
}

fn directions(tally: &Tally) -> Vec<(&'static str, f64)> {
    let word = |wanted: Direction| {
        Direction::ALL
            .iter()
            .find(|(direction, _)| *direction == wanted)
            .map_or("", |(_, word)| word)
    };
    let mut directions: Vec<_> = tally
        .directions()
        .map(|(direction, count)| (word(direction), share(count, tally.read())))
        .collect();
    directions.sort_by(|a, b| b.1.total_cmp(&a.1));
    directions
}

/// Why the entries are not from a better source, short enough for line 1.
fn reason(why: &ReadError) -> String {
    match why {
        ReadError::NotPermitted { needs, .. } => format!("the table needs {needs}"),
        ReadError::NotEntered { needs } => format!("its table needs {needs}"),
        other => other.to_string(),
    }
}

fn notes(listing: &Listing) -> Vec<String> {
    let mut notes = Vec::new();
    if listing.broken > 0 && listing.source != Source::Netlink {
        notes.push(format!(
            "lines that could not be parsed: {}",
            listing.unread
        ));
    }
    match &listing.end {
        End::Whole | End::Sampled => {}
        // the headline says it
        End::TimeUp | End::Failed(_) if listing.source == Source::Capture => {}
        End::TimeUp => notes.push(
            "the time for the table was up, what was read until then is taken as a sample"
                .to_owned(),
        ),
        End::Failed(error) => notes.push(format!(
            "reading the table broke off, what came before counts: {error}"
        )),
    }
    notes
}
