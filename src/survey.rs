//! The look into the table: reads entries, tallies them, finds who holds the sockets of the endpoints to be shown.
//!
//! Like [`crate::run`] it knows an order and nothing else: what opens is in `reading`, what counts in `tally`, what
//! speaks in `ranking`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use crate::analysis::local_addresses::Own;
use crate::analysis::owners::group;
use crate::analysis::tally::{Attribution, Counting, Endpoint, Peer, Scale, Tally, half_width};
use crate::analysis::traffic::Direction;
use crate::cli::Options;
use crate::diagnosis::{EndpointFacts, Situation, TableFacts};
use crate::model::conntrack::{Class, Entry};
use crate::model::dump::{End, Listing, Source};
use crate::model::error::ReadError;
use crate::model::readings::{Counts, Readings};
use crate::model::text::clean_path;
use crate::report::endpoints::{Ranked, Ranking, Sample};
use crate::runtime::{privilege, process};
use crate::source::addresses::{Origin, addresses};
use crate::source::enter_netns::Place;
use crate::source::entries::{self, Wanted};
use crate::source::procfs::processes::owners;
use crate::source::{Timeouts, timeouts};

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
    let mut counting = Counting::new(own, options.aggregate);
    let read = match &options.table {
        Some(capture) => {
            entries::from_capture(capture, options.sample, deadline, |entry: &Entry| {
                counting.add(entry)
            })
            .map(|(listing, total)| (listing, None, total))
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
    let tally = counting.finish();
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
    let leading = tally.top(options.top.unwrap_or_default().max(LOOKED_AT));
    let top = leading.get(..options.top.unwrap_or(1)).unwrap_or(&leading);
    if readings.capture {
        // part of a capture says nothing about how many it holds
        readings.count = match &listing.end {
            End::Failed(error) => Err(error.clone()),
            End::TimeUp => Err(ReadError::CaptureUnfinished),
            End::Whole | End::Sampled => Ok(u32::try_from(total).unwrap_or(u32::MAX)),
        };
    }
    readings.table = match (listing.source, &listing.end) {
        (Source::Sockets, _) => Err(match &why {
            Some(why @ (ReadError::Crowded { .. } | ReadError::NotEntered { .. })) => why.clone(),
            _ => ReadError::OnlySockets,
        }),
        (Source::Capture, End::Failed(error)) => Err(error.clone()),
        (Source::Capture, End::TimeUp) => Err(ReadError::CaptureUnfinished),
        _ => Ok(Counts {
            // whoever reads a capture from elsewhere says --own, or takes everything for forwarded
            own_unknown: own_error.clone().filter(|_| !readings.capture),
            ..counts(&tally, top, scale)
        }),
    };
    // a capture's sockets are on another host, or gone
    let behind = if options.top.is_some() && !readings.capture {
        Some(behind(&tally, top, scale, &wanted))
    } else {
        None
    };
    privilege::give_up_all();
    let mut facts = facts(&tally, &leading);
    if let Some(behind) = &behind {
        facts.established_without_socket = if behind.incomplete {
            None
        } else {
            without_socket(top, &behind.attributions)
        };
        let dialler = top
            .iter()
            .zip(&behind.owners)
            .find(|(endpoint, _)| !is_client(endpoint));
        if let (Some(destination), Some((_, owners))) = (&mut facts.destination, dialler) {
            // a uid has no connection pool
            let seen = owners.iter().find(|owner| owner.processes > 0);
            destination.owner = seen.map(|owner| owner.name.clone());
        }
    }
    // every namespace has its own, which are seen from inside only
    let timeouts = if wanted.place.net_root == options.proc_root {
        timeouts(&options.proc_root)
    } else {
        Timeouts::default()
    };
    // a few sockets say nothing about a table that is full of something else
    let telling = listing.source != Source::Sockets || tally.read() >= u64::from(wanted.count) / 2;
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
        notes.extend(own_error.map(|error| format!("own addresses unknown: {error}")));
        notes.extend(behind.as_ref().and_then(|behind| behind.note.clone()));
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
            inexact: listing.inexact,
        }
    });
    Survey {
        ranking: ranking.or_else(|| readings.table.is_ok().then(basis)),
        unavailable: None,
        situation: Some(situation),
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
        Origin::Kernel(process::check_netlink_strictly)
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

fn facts(tally: &Tally, top: &[Endpoint]) -> TableFacts {
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
            owner: None,
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

/// Who is behind the shown endpoints.
struct Behind {
    attributions: Vec<Attribution>,
    /// In the order of the endpoints.
    owners: Vec<Vec<crate::analysis::owners::Owner>>,
    /// Not every socket was seen, so one that was not may be there all the same.
    incomplete: bool,
    note: Option<String>,
}

fn behind(tally: &Tally, top: &[Endpoint], scale: Scale, wanted: &Wanted) -> Behind {
    let mut matching = tally.matching(top);
    // of a sample, every socket to a destination counts, not only those whose entry happens to be in it
    let mut dialled: HashMap<_, usize> = HashMap::new();
    if scale.is_sample() {
        for (index, endpoint) in top.iter().enumerate() {
            if let Peer::To {
                address,
                protocol,
                local: false,
            } = endpoint.peer
            {
                dialled.insert((address, protocol), index);
            }
        }
    }
    let mut complete: Vec<BTreeSet<(u64, u32)>> = vec![BTreeSet::new(); top.len()];
    let mut seen = false;
    let failed = entries::all_sockets(wanted, |socket| {
        seen = true;
        matching.add(socket);
        let remote =
            std::net::SocketAddr::new(socket.remote.ip().to_canonical(), socket.remote.port());
        let found = dialled
            .get(&(remote, socket.protocol))
            .and_then(|index| complete.get_mut(*index));
        if let Some(sockets) = found.filter(|_| socket.inode != 0) {
            sockets.insert((socket.inode, socket.uid));
        }
    });
    let mut attributions = matching.finish();
    if failed.is_err() {
        for attribution in &mut attributions {
            attribution.unattributed.other = 0;
        }
    }
    let sockets: Vec<Vec<(u64, u32)>> = attributions
        .iter()
        .zip(top)
        .zip(&complete)
        .map(|((attribution, endpoint), complete)| {
            // within this host both ends have a socket: the client's tells who opens the connections
            let within = matches!(endpoint.peer, Peer::To { local: true, .. });
            let clients_only = within && attribution.holders.iter().any(|holder| !holder.dialled);
            let matched = attribution
                .holders
                .iter()
                .filter(|holder| !(clients_only && holder.dialled));
            let matched = matched.map(|holder| (holder.inode, holder.uid));
            matched
                .chain(complete.iter().copied())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        })
        .collect();
    let inodes: HashSet<u64> = sockets.iter().flatten().map(|(inode, _)| *inode).collect();
    let found = privilege::with(privilege::PROCESSES, || {
        owners(&wanted.proc_root, &inodes, wanted.deadline)
    });
    let mut notes = Vec::new();
    let incomplete = failed.is_err();
    notes.extend(failed.err().map(|error| {
        if seen {
            format!("not every socket was seen: {error}")
        } else {
            format!("no owners: {error}")
        }
    }));
    let held: HashSet<u64> = found
        .processes
        .iter()
        .flat_map(|process| process.inodes.iter().copied())
        .collect();
    let unknown = inodes.difference(&held).count();
    if unknown > 0 && found.unseen > 0 {
        notes.push(format!(
            "{unknown} sockets belong to processes this user may not look into, shown by uid (CAP_SYS_PTRACE and \
             CAP_DAC_READ_SEARCH show them)"
        ));
    }
    if found.truncated {
        notes.push("the time was up before every process was looked at".to_owned());
    }
    let mut owners: Vec<_> = sockets
        .iter()
        .map(|sockets| group(&found.processes, sockets))
        .collect();
    for (index, owners) in owners.iter_mut().enumerate() {
        // what could not be counted whole is a sample like its entries
        let counted = complete
            .get(index)
            .is_some_and(|sockets| !sockets.is_empty());
        if scale.is_sample() && !counted {
            for owner in owners {
                let connections = scale.extrapolate(owner.connections as u64);
                owner.connections = usize::try_from(connections).unwrap_or(usize::MAX);
            }
        }
    }
    Behind {
        attributions,
        owners,
        incomplete,
        note: (!notes.is_empty()).then(|| notes.join(", ")),
    }
}

fn ranked(top: &[Endpoint], scale: Scale, behind: Option<Behind>) -> Vec<Ranked> {
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
        ("gone or in another namespace", left.other),
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
    if listing.broken > 0 {
        let what = if listing.source == Source::Netlink {
            "messages"
        } else {
            "lines"
        };
        notes.push(format!(
            "{} {what} were not understood and left out",
            listing.broken
        ));
    }
    match &listing.end {
        End::Whole | End::Sampled => {}
        // the headline says it
        End::TimeUp if listing.source == Source::Capture => {}
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
