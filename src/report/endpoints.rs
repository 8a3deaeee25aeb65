//! The remote endpoints that hold most entries, a line for each.

use super::plural;
use super::sentence_parts::none_above;
use crate::analysis::facts::Share;
use crate::analysis::owners::Owner;
use crate::analysis::tally::EndpointId;
use crate::analysis::top::{Basis, NoSocket, Ranked, TopTable};
use crate::model::conntrack::Class;
use crate::model::dump::Source;
use crate::model::readings::Readings;
use crate::report::sentence_parts::AddressNames;

/// Classes of an endpoint that are named.
const CLASSES: usize = 4;
/// Owners of an endpoint that are named.
const OWNERS: usize = 3;
/// An endpoint below this share stands in the sum of the others unless details were asked for. Percent.
const SHOWN_SHARE: u64 = 1;

/// The lines of the list.
///
/// An endpoint whose address has a name is the address of a container of this host.
pub fn lines(
    top: &TopTable,
    basis: &Basis,
    readings: &Readings,
    names: &AddressNames,
    verbose: bool,
) -> Vec<String> {
    let sockets = basis.source == Some(Source::Sockets);
    let listed = basis.sample.map_or(basis.read, |sample| sample.total);
    let whole = match &readings.count {
        Ok(count) => u64::from(*count),
        Err(_) => listed,
    };
    let share = |ranked: &Ranked| Share::new(ranked.entries, whole);
    let listed: Vec<&Ranked> = top
        .endpoints
        .iter()
        .filter(|ranked| verbose || sockets || share(ranked).is_at_least(SHOWN_SHARE))
        .collect();
    let mut lines: Vec<String> = listed
        .iter()
        .enumerate()
        .map(|(place, ranked)| {
            let address = ranked.endpoint.peer.single_address();
            let elsewhere = address.is_some_and(|address| names.contains_key(&address));
            line(place, ranked, share(ranked), sockets, elsewhere)
        })
        .collect();
    lines.extend(rest(top, &listed, whole));
    lines.extend(directions(top, sockets));
    if verbose {
        let why = basis.why.as_ref();
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        let source = basis.source;
        lines.extend(source.map(|source| format!("entries read {source}{why}")));
    }
    lines
}

fn line(place: usize, ranked: &Ranked, share: Share, sockets: bool, elsewhere: bool) -> String {
    let number = place + 1;
    let unit = if sockets { "socket" } else { "entry" };
    let entries = match (ranked.entries, unit) {
        (1, unit) => format!("1 {unit}"),
        (n, "socket") => format!("{n} sockets"),
        (n, _) => format!("{n} entries"),
    };
    let share = if sockets {
        String::new()
    } else {
        format!(", {}", precise(share))
    };
    let mut parts = vec![format!("{number}. {}: {entries}{share}", label(ranked))];
    let classes = classes(ranked);
    parts.extend((!classes.is_empty()).then_some(classes));
    parts.extend(ranked.owners.iter().take(OWNERS).map(holds));
    if ranked.owners.len() > OWNERS {
        let more = ranked.owners.len() - OWNERS;
        parts.push(plural(more as u64, "more owner", "more owners"));
    }
    let without: Vec<String> = ranked
        .without_socket
        .iter()
        .map(|(reason, n)| without_socket(*reason, *n, elsewhere))
        .collect();
    if !without.is_empty() {
        parts.push(without.join(" "));
    }
    parts.join(", ")
}

/// `to 10.0.3.7:6379/tcp`, `from 198.51.100.9 forwarded`.
pub fn label(ranked: &Ranked) -> String {
    let forwarded = if ranked.endpoint.forwarded {
        " forwarded"
    } else {
        ""
    };
    match &ranked.endpoint.peer {
        peer @ EndpointId::To { .. } => format!("{peer}{forwarded}"),
        peer @ EndpointId::From { .. } => format!("{peer}{forwarded}"),
    }
}

/// Percent with one decimal; never a 0 that is not exact.
fn precise(share: Share) -> String {
    if share.whole == 0 {
        return "0.0%".to_owned();
    }
    let tenths = u128::from(share.part) * 1000 / u128::from(share.whole);
    if tenths == 0 && share.part > 0 {
        return "under 0.1%".to_owned();
    }
    format!("{}.{}%", tenths / 10, tenths % 10)
}

fn classes(ranked: &Ranked) -> String {
    let of = ranked.endpoint.entries;
    let classes = ranked.endpoint.classes.iter().take(CLASSES);
    let words = classes.map(|(class, n)| {
        let name = Class::ALL.get(class.index()).map_or("", |(_, name)| name);
        format!("{name} {}", Share::new(*n, of))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `sidekiq.service (ruby[812]) 412 connections 25 threads`.
fn holds(owner: &Owner) -> String {
    let connections = plural(owner.connections as u64, "connection", "connections");
    let passed = match &owner.passed {
        Some(passed) if passed.connections == owner.connections => {
            format!(" (opened by {})", passed.user)
        }
        Some(passed) => format!(" ({} opened by {})", passed.connections, passed.user),
        None => String::new(),
    };
    // known by its user only, or not at all
    if owner.processes == 0 {
        return format!("{} {connections}", owner.who);
    }
    let threads = plural(owner.threads, "thread", "threads");
    let processes = match owner.processes {
        1 => String::new(),
        n => format!("{n} processes "),
    };
    let least = if owner.is_sample { "at least " } else { "" };
    format!(
        "{} {connections}{passed} {least}{processes}{threads}",
        owner.with_process()
    )
}

fn without_socket(reason: NoSocket, n: u64, elsewhere: bool) -> String {
    let words = match reason {
        NoSocket::Closed => "already closed (TIME_WAIT)",
        NoSocket::Forwarded if elsewhere => "in another namespace of this host",
        NoSocket::Forwarded => "forwarded",
        NoSocket::Unheld => "held by no process",
        NoSocket::None => "no socket left",
    };
    format!("{n} {words}")
}

/// The endpoints that have no line, in one: `2900 more endpoints, none above 0.6%`.
fn rest(top: &TopTable, listed: &[&Ranked], whole: u64) -> Option<String> {
    let more = top.seen.saturating_sub(listed.len() as u64);
    let unlisted = top.endpoints.get(listed.len()).map(|ranked| ranked.entries);
    let largest = unlisted.unwrap_or(top.largest_of_the_rest);
    (more > 0 && !top.endpoints.is_empty()).then(|| {
        let endpoints = if listed.is_empty() {
            plural(more, "endpoint", "endpoints")
        } else {
            plural(more, "more endpoint", "more endpoints")
        };
        let largest = precise(Share::new(largest, whole));
        format!("{endpoints}, {}", none_above(&largest))
    })
}

/// One line about the whole table: directions, and the services that are dialled here.
///
/// The shares of sockets are of the sockets: a connection within this host has two of them and one entry.
fn directions(top: &TopTable, sockets: bool) -> Option<String> {
    let all: f64 = top.directions.iter().map(|(_, share)| share).sum();
    let of = |share: f64| {
        percent(if sockets && all > 0.0 {
            share / all
        } else {
            share
        })
    };
    let directions: Vec<String> = top
        .directions
        .iter()
        .filter(|(_, share)| *share > 0.0)
        .map(|(traffic, share)| format!("{} {}", traffic.adjective(), of(*share)))
        .collect();
    let services: Vec<String> = top
        .services
        .iter()
        .map(|(service, share)| format!("{} {}", service.trim_start_matches(':'), of(*share)))
        .collect();
    if directions.is_empty() {
        return None;
    }
    let dialled = if services.is_empty() {
        String::new()
    } else {
        format!(", top local services: {}", services.join(", "))
    };
    let whole = if sockets { "of the sockets: " } else { "" };
    Some(format!("{whole}{}{dialled}", directions.join(", ")))
}

/// A share without decimals, but never a 0 or a 100 that is not exact.
fn percent(share: f64) -> String {
    let rounded = (share * 100.0).round();
    match rounded {
        _ if share > 0.0 && rounded < 1.0 => "under 1%".to_owned(),
        _ if share < 1.0 && rounded > 99.0 => "over 99%".to_owned(),
        _ => format!("{rounded:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_without_a_line_are_never_above_nothing() {
        let rest = |largest_of_the_rest| {
            let top = TopTable {
                endpoints: vec![Ranked {
                    endpoint: crate::analysis::tally::Endpoint {
                        peer: EndpointId::From {
                            address: "198.51.100.9".parse().unwrap(),
                            length: None,
                        },
                        entries: largest_of_the_rest,
                        share: 0.0,
                        unreplied: 0,
                        forwarded: false,
                        classes: Vec::new(),
                    },
                    entries: largest_of_the_rest,
                    owners: Vec::new(),
                    without_socket: Vec::new(),
                }],
                seen: 2,
                ..TopTable::default()
            };
            rest(&top, &[], 9999).unwrap()
        };
        assert_eq!(rest(9), "2 endpoints, each under 0.1%");
        assert_eq!(rest(10), "2 endpoints, none above 0.1%");
    }
}
