//! Chooses where the entries are read from: the best source that is permitted, and why not a better one.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::capture::{open::open_capture, reader, unpack};
use super::enter_netns::NetnsAccess;
use super::file;
use super::netlink::{ct_dump, sock_diag};
use super::procfs::{ct_table, netns, raw_sockets, sockets, sysctl};
use crate::model::conntrack::{Entry, Protocol, SocketAddress, Tuple};
use crate::model::dump::{Choice, DumpEnd, DumpSummary, Extent, Source};
use crate::model::error::ReadError;
use crate::model::socket::LocalSocket;
use crate::runtime::privilege;

/// Up to this many entries /proc/net/nf_conntrack is read where the time for it grows with the square of their number
/// (before 6.16).
const MAX_PROCFS_ENTRIES: u32 = 20_000;
/// A dump walks the entries of every namespace with soft interrupts off until its buffer is full: with this many
/// elsewhere and few here it stalls a processor for tens of milliseconds and more.
const STALLING_ENTRIES: u64 = 100_000;
/// The factor by which other namespaces may hold more entries.
const STALLING_RATIO: u64 = 10;
/// The walk through the processes that finds those entries may take this part of the time.
const WALK_SHARE: u32 = 4;

/// The request.
#[derive(Debug, Clone)]
pub struct EntryQuery {
    /// The mount point of procfs.
    pub proc_root: PathBuf,
    /// The place of the entries of the namespace.
    pub place: NetnsAccess,
    /// The number of entries in the other namespaces, if that is known already.
    pub elsewhere: Option<u64>,
    /// The source to read from.
    pub choice: Choice,
    /// How much of the table to read.
    pub extent: Extent,
    /// nf_conntrack_count.
    pub count: u32,
    /// Until when.
    pub deadline: Instant,
    /// True if a recording says who holds the entries: then nothing else stands in for a dump that is refused.
    pub is_recorded: bool,
}

/// The entries.
#[derive(Debug)]
pub struct Entries {
    /// The summary of the dump.
    pub listing: DumpSummary,
    /// The reason why no better source was read.
    pub why: Option<ReadError>,
    /// The number to read, if that is another number than nf_conntrack_count: sockets.
    pub total: Option<u64>,
}

impl Entries {
    fn of_table(listing: DumpSummary, why: Option<ReadError>) -> Self {
        Self {
            listing,
            why,
            total: None,
        }
    }
}

/// Reads the entries of a namespace.
///
/// # Errors
/// When no source that may be read is left.
pub fn entries(wanted: &EntryQuery, mut each: impl FnMut(&Entry)) -> Result<Entries, ReadError> {
    let better = match wanted.choice {
        Choice::Netlink if !wanted.place.live => {
            let not_entered = wanted.place.not_entered.clone();
            return Err(not_entered.unwrap_or(ReadError::OtherProcRoot));
        }
        Choice::Netlink => {
            return dump(wanted, &mut each).map(|listing| Entries::of_table(listing, None));
        }
        Choice::Procfs => {
            return procfs(wanted, &mut each).map(|listing| Entries::of_table(listing, None));
        }
        Choice::Sockets => None,
        Choice::Recording => return Err(ReadError::NotReached),
        Choice::Auto => match best(wanted, &mut each) {
            Ok(entries) => return Ok(entries),
            Err(why) if wanted.is_recorded => return Err(why),
            Err(why) => Some(why),
        },
    };
    privilege::give_up(privilege::DUMP);
    // where not even sockets can be read, the reason is why the table could not
    let (listing, total) =
        from_sockets(wanted, &mut each).map_err(|error| better.clone().unwrap_or(error))?;
    Ok(Entries {
        listing,
        why: better,
        total: Some(total),
    })
}

/// The end of a walk through the processes, which only says if a dump is too costly. Any user can have so many
/// processes that a walk takes all of the time, and nothing would be left for the entries.
fn part_of_time(now: Instant, deadline: Instant) -> Instant {
    now + deadline.saturating_duration_since(now) / WALK_SHARE
}

/// Netlink, else procfs, else neither, and the error is why.
fn best(wanted: &EntryQuery, each: &mut impl FnMut(&Entry)) -> Result<Entries, ReadError> {
    let not_entered = &wanted.place.not_entered;
    if !wanted.place.live && not_entered.is_none() {
        return procfs(wanted, each).map(|listing| Entries::of_table(listing, None));
    }
    let elsewhere = wanted.elsewhere.unwrap_or_else(|| {
        netns::entries_elsewhere(
            &wanted.proc_root,
            part_of_time(Instant::now(), wanted.deadline),
        )
    });
    let crowded =
        elsewhere > STALLING_ENTRIES && elsewhere / STALLING_RATIO > u64::from(wanted.count);
    if crowded {
        // reading the file passes all of them too, and only kernels that preempt themselves let others run meanwhile:
        // measured with 5 entries beside 1000000 it held a processor for 200 ms, a dump for 370 ms, the sockets for 2 ms
        return Err(ReadError::DumpWouldStall { elsewhere });
    }
    let why = match not_entered {
        Some(why) => why.clone(),
        None => match dump(wanted, each) {
            Ok(listing) => return Ok(Entries::of_table(listing, None)),
            Err(why) => why,
        },
    };
    if wanted.is_recorded {
        return Err(why);
    }
    match procfs(wanted, each) {
        Ok(listing) => Ok(Entries::of_table(listing, Some(why))),
        Err(unparsed @ ReadError::NothingParsed { .. }) => Err(unparsed),
        Err(_) => Err(why),
    }
}

/// Raises the privilege for the request only: the kernel asks for it once (netlink_net_capable), and nothing is parsed
/// while it lasts.
fn dump(wanted: &EntryQuery, each: &mut impl FnMut(&Entry)) -> Result<DumpSummary, ReadError> {
    noticing_a_resize(wanted, || {
        privilege::raise(privilege::DUMP);
        ct_dump::dump(
            wanted.extent,
            wanted.deadline,
            || privilege::give_up(privilege::DUMP),
            each,
        )
    })
}

/// A table that was resized meanwhile was read in part twice or not at all, and the kernel does not say so.
fn noticing_a_resize(
    wanted: &EntryQuery,
    read: impl FnOnce() -> Result<DumpSummary, ReadError>,
) -> Result<DumpSummary, ReadError> {
    let before = sysctl::buckets(&wanted.proc_root);
    let listing = read()?;
    let after = sysctl::buckets(&wanted.proc_root);
    // what could not be read either time was not resized
    let resized = matches!((&before, &after), (Ok(before), Ok(after)) if before != after);
    Ok(DumpSummary {
        inexact: listing.inexact || resized,
        ..listing
    })
}

fn procfs(wanted: &EntryQuery, each: &mut impl FnMut(&Entry)) -> Result<DumpSummary, ReadError> {
    if wanted.count > MAX_PROCFS_ENTRIES
        && wanted.choice == Choice::Auto
        && !ct_table::procfs_is_linear(&wanted.proc_root)
    {
        return Err(ReadError::ProcfsTooSlow);
    }
    privilege::give_up(privilege::DUMP);
    let net_root = &wanted.place.net_root;
    let file = privilege::with(privilege::FILES, || ct_table::open_procfs(net_root))?;
    noticing_a_resize(wanted, || {
        let lines = reader::read(file, Source::Procfs, wanted.extent, wanted.deadline, each);
        match lines.listing {
            // a fallback is better than an empty table
            DumpSummary {
                seen: 0,
                broken: broken @ 1..,
                ..
            } => Err(ReadError::NothingParsed {
                path: file::shown(&net_root.join(ct_table::PROCFS)),
                lines: broken,
            }),
            listing => Ok(listing),
        }
    })
}

/// Sockets as if they were entries: what listens tells who called whom.
fn from_sockets(
    wanted: &EntryQuery,
    each: &mut impl FnMut(&Entry),
) -> Result<(DumpSummary, u64), ReadError> {
    let mut listening = std::collections::HashSet::new();
    all_sockets(wanted, |socket| {
        if socket.listening {
            listening.insert((socket.protocol, socket.local.port()));
        }
    })?;
    let (mut read, mut total) = (0, 0);
    let limit = if wanted.extent.sample == 0 {
        u64::MAX
    } else {
        wanted.extent.sample
    };
    all_sockets(wanted, |socket| {
        if socket.listening || socket.remote.port() == 0 {
            return;
        }
        total += 1;
        if read < limit {
            read += 1;
            each(&as_entry(
                socket,
                listening.contains(&(socket.protocol, socket.local.port())),
            ));
        }
    })?;
    let end = if read < total {
        DumpEnd::Sampled
    } else {
        DumpEnd::Whole
    };
    Ok((DumpSummary::new(Source::Sockets, read, end), total))
}

/// Hands on every local socket.
///
/// # Errors
/// Neither sock_diag nor the files could be read.
pub fn all_sockets(
    wanted: &EntryQuery,
    mut each: impl FnMut(&LocalSocket),
) -> Result<(), ReadError> {
    // one copy of the code for all closures
    let each: &mut dyn FnMut(&LocalSocket) = &mut each;
    if wanted.place.live && sock_diag_is_there(&wanted.proc_root, &["tcp_diag ", "udp_diag "]) {
        sock_diag::sockets(wanted.deadline, each)
    } else {
        sockets::sockets(&wanted.place.net_root, each)
    }
}

/// The raw and packet sockets of the namespace, as inode and user id.
pub fn raw_sockets(wanted: &EntryQuery) -> Vec<(u64, u32)> {
    raw_sockets::raw_sockets(&wanted.place.net_root)
}

/// The sockets that wait for others to open a connection: the TCP sockets that listen, and the unconnected UDP sockets
/// whose port was chosen and not given by the kernel. The connections themselves are not looked at.
///
/// # Errors
/// Neither sock_diag nor the files could be read.
pub fn listening(wanted: &EntryQuery) -> Result<Vec<(Protocol, SocketAddress)>, ReadError> {
    let given = sysctl::local_ports(&wanted.proc_root);
    let mut sides = Vec::new();
    let mut each = |socket: &LocalSocket| {
        let port = socket.local.port();
        if socket.protocol == Protocol::TCP || !given.contains(&port) {
            sides.push((socket.protocol, (socket.local.ip().into(), port)));
        }
    };
    if wanted.place.live && sock_diag_is_there(&wanted.proc_root, &["tcp_diag ", "udp_diag "]) {
        sock_diag::waiting(wanted.deadline, &mut each)?;
    } else {
        sockets::waiting(&wanted.place.net_root, &mut each)?;
    }
    Ok(sides)
}

/// Asking for sock_diag would load its module where it is one and nobody used it yet, and this check loads none. A
/// kernel without /proc/modules has none to load; where it is built in beside others, the files of net/ do.
pub(super) fn sock_diag_is_there(proc_root: &Path, names: &[&str]) -> bool {
    match std::fs::read_to_string(proc_root.join("modules")) {
        Ok(modules) => names
            .iter()
            .all(|name| modules.lines().any(|line| line.starts_with(name))),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn as_entry(socket: &LocalSocket, dialled_here: bool) -> Entry {
    let out = Tuple {
        source: socket.local.ip().into(),
        destination: socket.remote.ip().into(),
        source_port: socket.local.port(),
        destination_port: socket.remote.port(),
    };
    let back = Tuple {
        source: out.destination,
        destination: out.source,
        source_port: out.destination_port,
        destination_port: out.source_port,
    };
    let (original, reply) = if dialled_here {
        (back, out)
    } else {
        (out, back)
    };
    Entry {
        protocol: socket.protocol,
        original,
        reply,
        tcp_state: socket
            .tcp_state
            .filter(|_| socket.protocol == Protocol::TCP),
        replied: true,
        assured: true,
        offloaded: false,
        timeout: None,
    }
}

/// Reads a capture.
///
/// # Errors
/// It cannot be opened, or it was read to its end and holds no table.
pub fn from_capture(
    path: &Path,
    sample: u64,
    deadline: Instant,
    each: impl FnMut(&Entry),
) -> Result<DumpSummary, ReadError> {
    // a capture is foreign: it is parsed without any
    privilege::give_up_all();
    let capture = open_capture(path, deadline)?;
    let name = capture.name().to_owned();
    let lines = reader::read(
        unpack::text(capture)?,
        Source::Capture,
        sample,
        deadline,
        each,
    );
    match (&lines.listing.end, lines.holds_instead()) {
        (DumpEnd::Whole | DumpEnd::Sampled, Some(problem)) => Err(ReadError::NoCapture {
            path: name,
            problem,
        }),
        _ => Ok(lines.listing),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_walk_through_the_processes_leaves_most_of_the_time_to_the_entries() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(part_of_time(now, after(4)), after(1));
        assert_eq!(part_of_time(after(4), after(4)), after(4));
        assert_eq!(part_of_time(after(5), after(4)), after(5));
    }
}
