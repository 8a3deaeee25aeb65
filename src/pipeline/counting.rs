//! The reading of the entries, a part of the third stage: from the best source, each entry counted once.

use std::time::Instant;

use crate::analysis::listening::Listening;
use crate::analysis::tally::{Counting, Scale, Tally};
use crate::cli::Options;
use crate::judge::metric::Metric;
use crate::model::conntrack::Entry;
use crate::model::dump::{Choice, DumpEnd, DumpSummary, Source};
use crate::model::error::ReadError;
use crate::model::local_addresses::LocalAddresses;
use crate::model::readings::{InUse, Reading};
use crate::runtime::unsafe_calls::check_netlink_strictly;
use crate::source::addresses::{Origin, addresses};
use crate::source::enter_netns::NetnsAccess;
use crate::source::entries::{self, EntryQuery};
use crate::source::expectations::expectations;
use crate::source::udp_settings;

/// A reading of the entries, counted.
pub(super) struct Read {
    pub(super) listing: DumpSummary,
    /// The reason why no better source was read.
    pub(super) why: Option<ReadError>,
    pub(super) tally: Tally,
    pub(super) scale: Scale,
    /// The reason if local addresses may be missing.
    pub(super) own_error: Option<ReadError>,
    /// The moment when the last entry was read.
    pub(super) at: Instant,
}

/// Reads and counts the entries.
pub(super) fn count(options: &Options, wanted: &EntryQuery) -> Result<Read, ReadError> {
    let (own, own_error) = own_addresses(options, &wanted.place, wanted.deadline);
    let mut counting = counting(options, wanted, own);
    let add = |entry: &Entry| counting.add(entry);
    let (listing, why, total) = match &options.table {
        Some(capture) => {
            let listing = entries::from_capture(capture, options.sample, wanted.deadline, add)?;
            let total = listing.seen;
            (listing, None, total)
        }
        None => {
            let read = entries::entries(wanted, add)?;
            let total = match read.listing.end {
                DumpEnd::Whole => read.listing.read,
                _ if read.listing.counted => read.listing.seen,
                _ => read
                    .total
                    .unwrap_or(u64::from(wanted.count))
                    .max(read.listing.read),
            };
            // the table may have grown since its entries were counted, and no list is longer than its count
            let of_table = total.min(wanted.count.into());
            let is_table = read.listing.source != Source::Sockets;
            (
                read.listing,
                read.why,
                if is_table { of_table } else { total },
            )
        }
    };
    let tally = counting.finish();
    // no entry was seen before the reading ended, so nothing can be said
    if options.table.is_none() && tally.read() == 0 {
        match listing.end {
            DumpEnd::TimeUp => return Err(ReadError::NotReached),
            DumpEnd::Failed(error) => return Err(error),
            DumpEnd::Whole | DumpEnd::Sampled => {}
        }
    }
    Ok(Read {
        at: Instant::now(),
        scale: Scale {
            read: tally.read(),
            total,
        },
        listing,
        why,
        tally,
        own_error,
    })
}

/// A counter that knows by what to tell which side opened a connection.
fn counting(options: &Options, wanted: &EntryQuery, own: LocalAddresses) -> Counting {
    let local_ports = udp_settings(&wanted.proc_root).ephemeral;
    let counting = Counting::new(own, options.aggregate).with_local_ports(local_ports);
    if options.table.is_some() {
        return counting.of_a_capture();
    }
    let counting = counting.with_room_for(wanted.extent.of(wanted.count));
    // sockets show who opened their connection
    if options.source == Choice::Sockets {
        return counting;
    }
    // the table needs the time more
    let now = Instant::now();
    let wanted = EntryQuery {
        deadline: now + wanted.deadline.saturating_duration_since(now) / 4,
        ..wanted.clone()
    };
    match entries::listening(&wanted) {
        Ok(sockets) => counting.with_listening(Listening::new(sockets)),
        Err(_) => counting.by_source_ports(),
    }
}

/// The local addresses of this host, and the reason if some may be missing.
fn own_addresses(
    options: &Options,
    place: &NetnsAccess,
    deadline: Instant,
) -> (LocalAddresses, Option<ReadError>) {
    // --own says that a capture is from elsewhere
    if options.table.is_some() && !options.own.is_empty() {
        return (LocalAddresses::new([], options.own.clone()), None);
    }
    let origin = if place.live {
        Origin::Kernel(check_netlink_strictly)
    } else {
        Origin::Files(&place.net_root)
    };
    let found = addresses(origin, deadline);
    let networks = [options.own.as_slice(), &found.networks].concat();
    let own = LocalAddresses::new(found.own, networks).with_broadcasts(found.received);
    (own, found.incomplete)
}

/// The expectations, if a range was given on them.
pub(super) fn wanted_expectations(options: &Options, wanted: &EntryQuery) -> Reading<InUse> {
    if options.table.is_some() {
        return Err(ReadError::NoExpectations);
    }
    if options.thresholds.of(Metric::Expect).next().is_none() {
        return Err(ReadError::NotReached);
    }
    expectations(wanted)
}
