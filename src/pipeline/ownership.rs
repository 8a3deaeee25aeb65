//! The owners of the endpoints that are shown: from entries to sockets, from sockets to processes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::analysis::census::{self, Census, Owned};
use crate::analysis::facts::SocketHolder;
use crate::analysis::owners::{self, Owner, Owners};
use crate::analysis::tally::{
    Attribution, EndpointId, Group, Holder, MAX_HOLDERS, Matched, Matching, Scale, Tally,
};
use crate::model::conntrack::Protocol;
use crate::model::error::ReadError;
use crate::model::socket::{LocalSocket, NoHolder, Process, SearchCut};
use crate::model::udp::UdpSettings;
use crate::model::user::Users;
use crate::runtime::privilege;
use crate::source::entries::{self, EntryQuery};
use crate::source::procfs::processes::{self, Search as ProcessSearch};
use crate::source::udp_settings;
use crate::source::users::{PASSWD, users};

/// The proc root of this host.
const PROC: &str = "/proc";

/// A sample in which the processes of an owner have fewer connections each may lack some of the processes.
const CONNECTIONS_OF_A_PROCESS: usize = 10;

/// A socket by its inode and user id.
type InodeAndUser = (u64, u32);

/// The owners behind the groups of a census.
pub(super) struct OwnerSearch {
    /// In the order of the groups.
    pub(super) of_groups: Vec<Owned>,
    /// The reason why names may be missing, in words.
    pub(super) names_incomplete: Option<String>,
    /// What else must be said.
    pub(super) note: Option<String>,
}

/// The processes that hold a raw or packet socket, those that hold most of them first.
pub(super) fn raw_senders(wanted: &EntryQuery) -> Vec<SocketHolder> {
    let sockets = entries::raw_sockets(wanted);
    let mut search = ProcessSearch::new(&wanted.proc_root, sockets.clone(), wanted.deadline);
    privilege::with(privilege::PROCESSES, || search.look());
    let found = search.finish();
    let owners = Owners::new(found.processes, NoHolder::NotReached, Users::default());
    let owners = owners.group(sockets).into_iter();
    owners
        .filter(|owner| owner.processes > 0)
        .map(|owner| census::who(&owner))
        .collect()
}

/// Looks for the sockets of the entries and for the processes that hold them. `read_at` is when the last entry was read.
pub(super) fn owners_of(
    tally: &Tally,
    census: &Census,
    scale: Scale,
    wanted: &EntryQuery,
    read_at: Instant,
) -> OwnerSearch {
    let (matched, mut dialled, look) = match_sockets(tally, census, scale, wanted);
    let mut attributions = matched.attributions(&[]);
    let asked_for = sockets(census, &attributions, &dialled).flatten().collect();
    let silence = read_at.elapsed();
    let (found, closed) = search(wanted, asked_for, &attributions);
    if !closed.is_empty() {
        attributions = matched.attributions(&closed);
        dialled.leave_out(&closed);
    }
    drop(matched);
    let (missing, no_holder, cut) = (found.missing.len(), found.no_holder(), found.cut);
    let names = names(wanted, &found, &attributions, &dialled);
    let by_process = Owners::new(found.processes, no_holder, names.clone());
    for attribution in &mut attributions {
        attribution.disbelieve(|holder| is_too_young(holder, &by_process, silence));
        if look.failed.is_some() {
            attribution.unattributed.other = 0;
        }
    }
    let complete = look.failed.is_none() && cut.is_none() && no_holder != NoHolder::NotPermitted;
    let grouped: Vec<Vec<Owner>> = sockets(census, &attributions, &dialled)
        .map(|sockets| by_process.group(sockets))
        .collect();
    let of_groups = grouped
        .into_iter()
        .zip(attributions)
        .enumerate()
        .map(|(place, (mut owners, attribution))| {
            let of_holders = attribution.scale();
            // what could not be counted whole is a sample like its entries
            if !dialled.has(place) {
                for scale in [of_holders, scale]
                    .into_iter()
                    .filter(|scale| scale.is_sample())
                {
                    owners
                        .iter_mut()
                        .for_each(|owner| extrapolate(owner, scale));
                }
            }
            if !scale.is_exact() || !of_holders.is_exact() {
                owners::fit(&mut owners, census.with_socket(place, &attribution));
            }
            Owned {
                held: held(&attribution, &owners, &by_process),
                owners,
                attribution,
                complete,
            }
        })
        .collect();
    OwnerSearch {
        of_groups,
        names_incomplete: cut.map(|cut| incomplete(cut, &names)),
        note: note(&look, missing, no_holder),
    }
}

/// The owners by the entries that were seen at their sockets, most first.
fn held(attribution: &Attribution, owners: &[Owner], by_process: &Owners) -> Vec<(Owner, u64)> {
    let mut held: Vec<(Owner, u64)> = owners.iter().map(|owner| (owner.clone(), 0)).collect();
    for holder in &attribution.holders {
        let of_holder = by_process.of(holder.inode);
        let mut is_held = false;
        for (owner, entries) in &mut held {
            if of_holder.contains(&&owner.who) {
                *entries += u64::from(holder.entries);
                is_held = true;
            }
        }
        if !is_held {
            let user = by_process.user(holder.uid);
            let of_user = held.iter_mut().find(
                |(owner, _)| matches!(&owner.who, owners::OwnerId::User(known, _) if *known == user),
            );
            if let Some((_, entries)) = of_user {
                *entries += u64::from(holder.entries);
            }
        }
    }
    let of_holders = attribution.scale();
    for (_, entries) in &mut held {
        *entries = of_holders.extrapolate(*entries);
    }
    held.retain(|(_, entries)| *entries > 0);
    held.sort_by_key(|(_, entries)| std::cmp::Reverse(*entries));
    held
}

/// The result of a look at all sockets.
#[derive(Default)]
struct Look {
    /// True if there was at least one.
    any: bool,
    /// The reason why not all were seen.
    failed: Option<ReadError>,
}

/// All sockets to the shown destinations. If only a sample of the entries was read, or not all of their sockets are
/// kept, these count, not only those whose entry happens to be in the sample.
#[derive(Default)]
struct DialledSockets {
    places: HashMap<(SocketAddr, Protocol), usize>,
    /// For each endpoint.
    sockets: Vec<Vec<InodeAndUser>>,
}

impl DialledSockets {
    fn new(tally: &Tally, census: &Census, scale: Scale) -> Self {
        let mut places = HashMap::new();
        if scale.is_sample() || tally.read() > MAX_HOLDERS as u64 {
            for (place, group) in census.groups.iter().enumerate() {
                if let Group::Endpoint(EndpointId::To {
                    address,
                    protocol,
                    local: false,
                }) = group
                {
                    places.insert((*address, *protocol), place);
                }
            }
        }
        Self {
            places,
            sockets: vec![Vec::new(); census.groups.len()],
        }
    }

    fn add(&mut self, socket: &LocalSocket) {
        if socket.inode == 0 || self.places.is_empty() {
            return;
        }
        let remote = SocketAddr::new(socket.remote.ip().to_canonical(), socket.remote.port());
        let place = self.places.get(&(remote, socket.protocol));
        if let Some(sockets) = place.and_then(|place| self.sockets.get_mut(*place)) {
            sockets.push((socket.inode, socket.uid));
        }
    }

    /// True if an endpoint has such sockets.
    fn has(&self, place: usize) -> bool {
        self.sockets
            .get(place)
            .is_some_and(|sockets| !sockets.is_empty())
    }

    fn leave_out(&mut self, closed: &[u64]) {
        for sockets in &mut self.sockets {
            sockets.retain(|(inode, _)| closed.binary_search(inode).is_err());
        }
    }
}

/// Takes in all sockets of the network namespace.
fn match_sockets<'t>(
    tally: &'t Tally,
    census: &Census,
    scale: Scale,
    wanted: &EntryQuery,
) -> (Matched<'t>, DialledSockets, Look) {
    // the directory of a process in another namespace has no settings
    let settings = match wanted.place.not_entered {
        None => udp_settings(&wanted.proc_root),
        Some(_) => UdpSettings::default(),
    };
    let mut matching: Matching<'t> = tally.matching_of(&census.groups, &census.counted, settings);
    let mut dialled = DialledSockets::new(tally, census, scale);
    let mut look = Look::default();
    let read = entries::all_sockets(wanted, |socket| {
        look.any = true;
        matching.add(socket);
        dialled.add(socket);
    });
    look.failed = read.err();
    (matching.finish(), dialled, look)
}

/// The sockets of each group, some of them twice.
fn sockets<'a>(
    census: &'a Census,
    attributions: &'a [Attribution],
    dialled: &'a DialledSockets,
) -> impl Iterator<Item = Vec<InodeAndUser>> + 'a {
    let groups = attributions
        .iter()
        .zip(&census.groups)
        .zip(&dialled.sockets);
    groups.map(|((attribution, group), dialled)| {
        // within this host both ends have a socket: the client's tells who opens the connections
        let within = matches!(group, Group::Endpoint(EndpointId::To { local: true, .. }));
        let clients_only = within && attribution.holders.iter().any(|holder| !holder.dialled);
        let matched = attribution
            .holders
            .iter()
            .filter(|holder| !(clients_only && holder.dialled));
        let matched = matched.map(|holder| (holder.inode, holder.uid));
        matched.chain(dialled.iter().copied()).collect()
    })
}

/// Searches for the processes that hold these sockets. If a holder is missing, the sockets are looked at again: one
/// that was closed meanwhile must not look like another owner's socket. Returns the closed ones too, in order, among
/// them those that were not asked for.
fn search(
    wanted: &EntryQuery,
    asked_for: Vec<InodeAndUser>,
    attributions: &[Attribution],
) -> (processes::SocketProcesses, Vec<u64>) {
    let mut search = ProcessSearch::new(&wanted.proc_root, asked_for, wanted.deadline);
    privilege::with(privilege::PROCESSES, || search.look());
    if search.has_found_all() {
        return (search.finish(), Vec::new());
    }
    let holders = attributions.iter().flat_map(|found| &found.holders);
    let mut inodes: Vec<u64> = holders.map(|holder| holder.inode).collect();
    inodes.extend(search.missing());
    inodes.sort_unstable();
    inodes.dedup();
    let mut open = Vec::new();
    let read = entries::all_sockets(wanted, |socket| {
        if inodes.binary_search(&socket.inode).is_ok() {
            open.push(socket.inode);
        }
    });
    if read.is_err() {
        // a socket that was not seen again may still be there
        search.break_off();
        return (search.finish(), Vec::new());
    }
    open.sort_unstable();
    privilege::with(privilege::PROCESSES, || search.look_again(&open));
    // a socket that was held when its process was looked at is as good as an open one
    inodes.retain(|inode| open.binary_search(inode).is_err() && !search.has_found(*inode));
    (search.finish(), inodes)
}

/// The names of the users that may be shown. /etc/passwd has none of those below another proc root.
fn names(
    wanted: &EntryQuery,
    found: &processes::SocketProcesses,
    attributions: &[Attribution],
    dialled: &DialledSockets,
) -> Users {
    if wanted.proc_root != Path::new(PROC) {
        return Users::default();
    }
    let of_sockets = attributions
        .iter()
        .flat_map(|attribution| &attribution.holders)
        .map(|holder| holder.uid)
        .chain(dialled.sockets.iter().flatten().map(|(_, uid)| *uid));
    let of_process = |process: &Process| process.cgroup.name.user();
    let of_managers = found.processes.iter().filter_map(of_process);
    let of_the_search = match found.cut {
        Some(SearchCut::TooManyDescriptors { uid }) => uid,
        _ => None,
    };
    let mut uids: Vec<u32> = of_sockets.chain(of_managers).chain(of_the_search).collect();
    uids.sort_unstable();
    uids.dedup();
    users(PASSWD.as_ref(), &uids)
}

/// True if the process that has the port of an entry by now began after the last packet of the entry. `silence` is the
/// time since the entries were read.
fn is_too_young(holder: &Holder, owners: &Owners, silence: Duration) -> bool {
    let silent = Duration::from_secs(holder.silent.into());
    holder.silent > 0
        && owners
            .age(holder.inode)
            .is_some_and(|age| age < silent + silence)
}

fn extrapolate(owner: &mut Owner, scale: Scale) {
    let whole =
        |sockets: usize| usize::try_from(scale.extrapolate(sockets as u64)).unwrap_or(usize::MAX);
    owner.is_sample |= owner.connections < CONNECTIONS_OF_A_PROCESS * owner.processes;
    owner.connections = whole(owner.connections);
    if let Some(passed) = &mut owner.passed {
        passed.connections = whole(passed.connections);
    }
}

/// The reason why names are incomplete.
fn incomplete(cut: SearchCut, users: &Users) -> String {
    match cut {
        SearchCut::TimeUp => "not every process could be looked at in time".to_owned(),
        SearchCut::TooManyDescriptors { uid: Some(uid) } => {
            format!("processes of {} have too many descriptors", users.user(uid))
        }
        SearchCut::TooManyDescriptors { uid: None } => {
            "processes have too many descriptors".to_owned()
        }
    }
}

/// The notes about sockets and processes.
fn note(look: &Look, missing: usize, no_holder: NoHolder) -> Option<String> {
    let failed = look.failed.as_ref().map(|error| {
        if look.any {
            format!("not every socket was seen: {error}")
        } else {
            format!("no owners: {error}")
        }
    });
    let unheld = (missing > 0).then(|| match no_holder {
        NoHolder::NotPermitted => {
            let (sockets, are) = if missing == 1 {
                ("1 socket belongs".to_owned(), "is")
            } else {
                (format!("{missing} sockets belong"), "are")
            };
            Some(format!(
                "{sockets} to other users' processes and {are} shown by uid (names need CAP_SYS_PTRACE and \
                 CAP_DAC_READ_SEARCH)"
            ))
        }
        NoHolder::NoProcess => {
            let sockets = if missing == 1 {
                "1 socket is".to_owned()
            } else {
                format!("{missing} sockets are")
            };
            Some(format!(
                "{sockets} held by no process: passed on and not yet taken, in an io_uring, or the kernel's own"
            ))
        }
        NoHolder::NotReached => None,
    });
    let notes: Vec<String> = failed.into_iter().chain(unheld.flatten()).collect();
    (!notes.is_empty()).then(|| notes.join(", "))
}
