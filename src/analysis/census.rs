//! The census of a table: which groups of entries are looked at, and what is made of them: the counts of the metrics,
//! the list of endpoints, and the facts of the diagnosis. Pure.

use crate::analysis::facts::{
    Client, Destination, Distinct, Facts, Held, Ownership, Pair, Port, Service, SocketHolder,
    Split, Swept,
};
use crate::analysis::owners::Owner;
use crate::analysis::tally::{
    Attribution, Counted, Endpoint, EndpointId, Group, LocalService, Scale, Tally,
};
use crate::analysis::top::{NoSocket, Ranked, TopTable};
use crate::analysis::traffic::Traffic;
use crate::model::few::largest_first;
use crate::model::readings::{Counts, Estimate};
use crate::model::text::named;

/// Endpoints that the diagnosis looks at, whatever the number that is shown.
const ENDPOINTS: usize = 10;
/// Dialled ports that the diagnosis looks at.
const PORTS: usize = 8;
/// Services that are shown.
const SERVICES: usize = 3;

/// The groups that are looked at.
#[derive(Debug)]
pub struct Census {
    /// The endpoints, the one with most entries first.
    pub endpoints: Vec<Endpoint>,
    /// The number of groups that are shown.
    pub shown: usize,
    /// The groups: the endpoints in their order, then ports, a swept address, and the whole table.
    pub groups: Vec<Group>,
    /// The counts of each group, in their order.
    pub counted: Vec<Counted>,
    /// The entries of the largest endpoint in the whole table.
    pub largest: Estimate<u64>,
    scale: Scale,
    /// Entries of the table, listed or not.
    entries: u64,
    swept_ports: u64,
    different_ports: u64,
    /// The services of this host with most entries.
    services: Vec<LocalService>,
}

impl Census {
    /// Looks at the groups of a tally of which `shown` endpoints are shown. `count` is nf_conntrack_count, of which
    /// shares are; 0 if it is not known.
    pub fn new(tally: &Tally, shown: usize, scale: Scale, count: u32) -> Self {
        // the one after those that are shown is the largest of the rest
        let largest = tally.largest_endpoints(shown.saturating_add(1).max(ENDPOINTS));
        let of_endpoints = largest.iter().copied().map(Group::Endpoint);
        let dialled = tally.dialled_ports();
        let swept = tally.most_swept();
        let groups: Vec<Group> = of_endpoints
            .chain(
                dialled
                    .most(PORTS)
                    .map(|(port, traffic)| Group::Port(port, traffic)),
            )
            .chain(swept.map(|(address, _)| Group::Address(address)))
            .chain([Group::All])
            .collect();
        let counted = tally.look_at(&groups);
        let endpoints = tally.endpoints_of(&largest, &counted);
        Self {
            largest: tally.largest(endpoints.first().map_or(0, |first| first.entries), scale),
            scale,
            entries: scale.total.max(count.into()),
            endpoints,
            shown,
            groups,
            counted,
            swept_ports: swept.map_or(0, |(_, ports)| ports),
            different_ports: dialled.different(),
            services: dialled.services(SERVICES),
        }
    }

    /// The scale of the entries of a group. Endpoints that were found because they are large in the sample are mostly
    /// smaller in the table, all in the proportion of the largest one.
    pub fn scale_of(&self, group: &Group) -> Scale {
        let largest = self.endpoints.first().map_or(0, |first| first.entries);
        let is_smaller = self.largest.value < self.scale.extrapolate(largest);
        match group {
            Group::Endpoint(_) if is_smaller => Scale {
                read: largest,
                total: self.largest.value,
            },
            _ => self.scale,
        }
    }

    /// The entries in the whole table of the group at a place, without those that no socket was found for.
    pub fn with_socket(&self, place: usize, attribution: &Attribution) -> u64 {
        let (Some(group), Some(counted)) = (self.groups.get(place), self.counted.get(place)) else {
            return 0;
        };
        let scale = self.scale_of(group);
        let without = reasons(attribution, scale);
        let without: u64 = without.iter().map(|(_, entries)| entries).sum();
        scale
            .extrapolate(counted.split.entries)
            .saturating_sub(without)
    }

    /// Every group with what was counted of it, and its place in the list.
    fn iter(&self) -> impl Iterator<Item = (usize, &Group, &Counted)> {
        let all = self.groups.iter().zip(&self.counted).enumerate();
        all.map(|(place, (group, counted))| (place, group, counted))
    }
}

/// The sockets of a group and who holds them.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    /// The owners with their sockets, most connections first.
    pub owners: Vec<Owner>,
    /// The owners by entries that were seen at their sockets, most first.
    pub held: Vec<(Owner, u64)>,
    /// The entries with and without a socket.
    pub attribution: Attribution,
    /// True if all sockets and all processes were seen.
    pub complete: bool,
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// No table has more than 2^32 - 1 entries, since its count is an int.
fn entries_of_a_table(entries: u64) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

/// In whole entries of the table.
fn whole(count: u64, scale: Scale) -> u32 {
    entries_of_a_table(scale.extrapolate(count))
}

/// The numbers of the metrics.
pub fn counts(tally: &Tally, census: &Census, scale: Scale) -> Counts {
    let mut counts = Counts {
        largest_endpoint: census.largest.map(entries_of_a_table),
        unreplied: whole(tally.unreplied(), scale),
        evictable: whole(tally.evictable(), scale),
        ..Counts::default()
    };
    for (slot, (_, count)) in counts.classes.iter_mut().zip(tally.classes()) {
        *slot = whole(count, scale);
    }
    counts
}

/// The distance that the share of the largest endpoint may have from its share in the table.
pub fn half_width_of_largest(census: &Census, scale: Scale) -> f64 {
    let Estimate {
        value,
        at_least,
        at_most,
    } = census.largest;
    let distance = at_most
        .saturating_sub(value)
        .max(value.saturating_sub(at_least));
    share(distance, scale.total)
}

/// The list of endpoints.
pub fn top(tally: &Tally, census: &Census, owned: Option<&[Owned]>, scale: Scale) -> TopTable {
    let (seen, _) = tally.endpoints();
    let of_table = |count| share(scale.extrapolate(count), census.entries);
    let shown = census.endpoints.iter().take(census.shown);
    let rest = census.endpoints.get(census.shown);
    let ranked = |(place, endpoint): (usize, &Endpoint)| {
        let scale = census.scale_of(&Group::Endpoint(endpoint.peer));
        let owned = owned.and_then(|owned| owned.get(place));
        Ranked {
            endpoint: endpoint.clone(),
            entries: scale.extrapolate(endpoint.entries),
            owners: owned.map(|owned| owned.owners.clone()).unwrap_or_default(),
            without_socket: owned
                .map(|owned| reasons(&owned.attribution, scale))
                .unwrap_or_default(),
        }
    };
    let mut directions: Vec<(Traffic, f64)> = tally
        .directions()
        .map(|(traffic, count)| (traffic, of_table(count)))
        .collect();
    largest_first(&mut directions, |(_, share)| *share);
    TopTable {
        endpoints: shown
            .enumerate()
            .map(ranked)
            .filter(|ranked| ranked.entries > 0)
            .collect(),
        seen,
        largest_of_the_rest: rest.map_or(0, |endpoint| scale.extrapolate(endpoint.entries)),
        directions,
        services: census
            .services
            .iter()
            .map(|service| (service.to_string(), of_table(service.entries)))
            .collect(),
    }
}

fn reasons(attribution: &Attribution, scale: Scale) -> Vec<(NoSocket, u64)> {
    let left = attribution.unattributed;
    let reasons = [
        (NoSocket::Closed, left.time_wait),
        (NoSocket::Forwarded, left.forwarded),
        (NoSocket::Unheld, left.unheld),
        (NoSocket::None, left.other),
    ];
    reasons
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(reason, n)| (reason, scale.extrapolate(n)))
        .collect()
}

/// The facts of the diagnosis. `owned` is what was found of each group; none if no socket was looked at.
pub fn facts(tally: &Tally, census: &Census, owned: Option<&[Owned]>, scale: Scale) -> Facts {
    let mut facts = Facts::default();
    let (endpoints, dialled) = tally.endpoints();
    let seen = |n| Distinct {
        seen: n,
        at_least: scale.is_sample(),
    };
    facts.counted = census.entries;
    facts.endpoints = seen(endpoints);
    facts.dialled = seen(dialled);
    facts.dialled_ports = seen(census.different_ports);
    for (place, group, counted) in census.iter() {
        let scale = census.scale_of(group);
        let split = extrapolated(&counted.split, scale);
        let ownership = owned
            .and_then(|owned| owned.get(place))
            .map(|owned| ownership(owned, scale))
            .unwrap_or_default();
        let others = Distinct {
            seen: counted.others,
            at_least: scale.is_sample() || counted.more_others,
        };
        let pair = counted.pair.as_ref().map(|pair| Pair {
            entries: scale.extrapolate(pair.entries),
            ..pair.clone()
        });
        match group {
            Group::All => {
                facts.all = split;
                facts.directions = counted.directions.map(|n| scale.extrapolate(n));
                facts.ownership = ownership;
            }
            Group::Endpoint(peer @ EndpointId::To { .. }) => facts.destinations.push(Destination {
                peer: *peer,
                split,
                traffic: counted.traffic(),
                pair,
                sources: others,
                ownership,
            }),
            Group::Endpoint(peer @ EndpointId::From { .. }) => facts.clients.push(Client {
                peer: *peer,
                split,
                traffic: counted.traffic(),
                pair,
                destinations: others,
                ports: seen(counted.ports),
                ownership,
            }),
            Group::Port(port, traffic) => {
                add_port(&mut facts.ports, *port, split, others);
                facts.services.push(Service {
                    port: *port,
                    traffic: *traffic,
                    split,
                    far: others,
                    largest: scale.extrapolate(counted.largest),
                    ownership,
                });
            }
            Group::Address(address) => {
                facts.swept = Some(Swept {
                    address: *address,
                    traffic: counted.traffic(),
                    ports: seen(census.swept_ports),
                    split,
                    ownership,
                });
            }
        }
    }
    largest_first(&mut facts.ports, |(_, split, _)| split.entries);
    facts
}

/// Adds a port in one direction to those of all directions.
fn add_port(ports: &mut Vec<(Port, Split, Distinct)>, port: Port, split: Split, far: Distinct) {
    match ports.iter_mut().find(|(known, ..)| *known == port) {
        Some((_, sum, most)) => {
            *sum = sum.plus(&split);
            most.seen = most.seen.max(far.seen);
        }
        None => ports.push((port, split, far)),
    }
}

fn extrapolated(split: &Split, scale: Scale) -> Split {
    let whole = |n| scale.extrapolate(n);
    Split {
        entries: whole(split.entries),
        classes: split.classes.map(whole),
        unanswered: whole(split.unanswered),
        one_sided: whole(split.one_sided),
    }
}

fn ownership(owned: &Owned, scale: Scale) -> Ownership {
    let left = owned.attribution.unattributed;
    let held = |(owner, entries): &(Owner, u64)| Held {
        who: who(owner),
        entries: scale.extrapolate(*entries),
    };
    Ownership {
        seen: scale.extrapolate(owned.attribution.attributed),
        owners: owned.held.iter().map(held).collect(),
        closed: scale.extrapolate(left.time_wait),
        without_socket: scale.extrapolate(left.other),
        complete: owned.complete,
    }
}

/// The owner as the diagnosis names it.
pub fn who(owner: &Owner) -> SocketHolder {
    let process = (owner.processes > 0).then(|| (named(&owner.command), owner.pid));
    SocketHolder {
        name: owner.who.to_string(),
        unit: owner.who.system_unit(),
        process,
        processes: owner.processes as u64,
        threads: owner.threads,
        connections: owner.connections as u64,
    }
}
