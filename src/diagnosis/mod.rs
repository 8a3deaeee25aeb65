//! The one piece of advice that goes with a problem. Pure: what is known of the situation in, at most one hint out.
//!
//! The rules, first match wins (each is a section of the documentation):
//!
//! 1. hash chains are too long, or were for lost packets: raise nf_conntrack_buckets, before nf_conntrack_max, which
//!    would make them longer;
//! 2. one destination holds a quarter of the table or more, and most of its entries got no answer: it does not answer;
//! 3. one destination holds a quarter or more and most of its entries are TIME_WAIT: connections are not reused;
//! 4. one client (or network of clients, where they are grouped) holds half of the table or more: it floods;
//! 5. most of the table got no answer, spread over many: a scan or a flood;
//! 6. most of the table is ESTABLISHED, and most of the entries of the shown endpoints that ought to have a socket on
//!    this host have none: their peers vanished;
//! 7. nf_conntrack_max is above 8 times nf_conntrack_buckets: chains will be too long before the table is full;
//! 8. nobody stands out: the table is too small for this host.
//!
//! Rules 1 and 7 need no look into the table.

use std::fmt;

use crate::judge::assess::Assessment;
use crate::judge::metric::Metric;
use crate::judge::range::Side;
use crate::model::readings::Readings;

/// A share that makes a destination stand out.
const MUCH: f64 = 0.25;
/// More than half.
const MOST: f64 = 0.5;
/// All, apart from a few that an address may have besides.
const NEARLY_ALL: f64 = 0.95;
/// With more entries per bucket than this a full table has a mean chain above 16 nodes (each entry is two), which is
/// past the default warning threshold of `chain`.
const MAX_PER_BUCKET: u32 = 8;
/// Bytes of kernel memory an entry costs at most: 256 (320 before 6.1), and 128 for its extensions.
const ENTRY_BYTES: u64 = 384;

/// What is known. Shares are of the whole table, 0 to 1, unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Situation {
    /// nf_conntrack_max, where there is a limit.
    pub max: Option<u32>,
    /// nf_conntrack_buckets.
    pub buckets: Option<u32>,
    /// A threshold on `chain` was crossed, or packets were lost to long chains.
    pub chains_long: bool,
    /// A threshold on the fullness of the table was crossed, or packets were lost because it was full.
    pub filling: bool,
    /// What the entries say, where they were read.
    pub table: Option<TableFacts>,
    /// nf_conntrack_tcp_timeout_time_wait, seconds.
    pub timeout_time_wait: Option<u32>,
    /// nf_conntrack_tcp_timeout_established, seconds.
    pub timeout_established: Option<u32>,
}

impl Situation {
    /// The same with what the verdict says.
    pub fn with(&self, assessment: &Assessment, readings: &Readings) -> Self {
        let above = |metric| {
            let found = assessment
                .findings
                .iter()
                .find(|finding| finding.metric == metric);
            found.is_some_and(|finding| matches!(finding.side, Side::Above(_)))
        };
        let little_left = assessment.findings.iter().any(|finding| {
            finding.metric == Metric::Free && matches!(finding.side, Side::Below(_))
        });
        Self {
            max: readings.max(),
            buckets: readings.buckets.as_ref().ok().copied(),
            chains_long: above(Metric::Chain) || readings.lost_to_long_chains(),
            filling: above(Metric::Usage)
                || above(Metric::Entries)
                || little_left
                || readings.lost_to_a_full_table(),
            ..self.clone()
        }
    }
}

/// What the entries say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableFacts {
    /// The largest endpoint that is dialled.
    pub destination: Option<EndpointFacts>,
    /// The largest endpoint that dials.
    pub client: Option<EndpointFacts>,
    /// In SYN_SENT or SYN_RECV, or without any reply.
    pub unanswered: f64,
    /// ESTABLISHED.
    pub established: f64,
    /// Of the entries of the shown endpoints that ought to have a socket on this host, those that have none; none where
    /// nothing was looked up.
    pub established_without_socket: Option<f64>,
}

impl TableFacts {
    fn has_a_large_endpoint(&self) -> bool {
        let both = [&self.destination, &self.client];
        both.into_iter()
            .flatten()
            .any(|endpoint| endpoint.share >= MUCH)
    }
}

/// What is known of an endpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndpointFacts {
    /// Without its marks: `to 10.0.3.7:6379/tcp`, or the address of a client.
    pub name: String,
    /// Whether it stands for a network of clients.
    pub is_network: bool,
    /// Whether it passes through this host.
    pub forwarded: bool,
    /// Of the table.
    pub share: f64,
    /// Of its own entries.
    pub time_wait: f64,
    /// Of its own entries: those certain to have no answer.
    pub unanswered: f64,
    /// Of its own entries: in SYN_RECV or without a reply. Nothing proves that a packet to the address of such an entry
    /// ever arrived there, so it may be forged.
    pub unproven: f64,
    /// Its entries in the whole table.
    pub entries: u64,
    /// The unit or command behind it.
    pub owner: Option<String>,
    /// The part of its entries that was seen at sockets; none if no sockets were looked at.
    pub seen: Option<SeenAtSockets>,
}

impl EndpointFacts {
    /// What ties the owner to the entries.
    fn evidence(&self) -> Option<Evidence> {
        let (owner, seen) = (self.owner.clone()?, self.seen?);
        Some(Evidence {
            owner,
            entries: self.entries,
            seen,
        })
    }
}

/// The entries of an endpoint that belong to a socket of this host. An entry in TIME_WAIT has none any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenAtSockets {
    /// The entries at sockets that processes hold.
    pub entries: u64,
    /// Of these, the entries at sockets of the first owner.
    pub of_owner: u64,
}

/// An owner and what ties it to the entries of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The unit or command.
    pub owner: String,
    /// The entries of the endpoint.
    pub entries: u64,
    /// The part of them that was seen at sockets.
    pub seen: SeenAtSockets,
}

impl Evidence {
    /// Whether most of the entries are certain to be the owner's.
    fn is_proof(&self) -> bool {
        self.seen.of_owner * 2 > self.entries
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            entries,
            seen,
        } = self;
        let of_owner = match seen.of_owner {
            all if all == seen.entries => "all".to_owned(),
            some => some.to_string(),
        };
        write!(
            f,
            "{} of {entries} entries seen at a socket, {of_owner} of {owner}",
            seen.entries
        )
    }
}

/// A piece of advice.
#[derive(Debug, Clone, PartialEq)]
pub enum Hint {
    /// Rules 1 and 7.
    RaiseBuckets {
        /// Now.
        buckets: u32,
        /// Advised.
        wanted: u32,
    },
    /// Rule 2.
    NoAnswer {
        /// The destination.
        label: String,
        /// Who dials it.
        owner: Option<Evidence>,
    },
    /// Rule 5.
    Scan,
    /// Rule 3.
    NotReused {
        /// The destination.
        label: String,
        /// Who dials it.
        owner: Option<Evidence>,
        /// nf_conntrack_tcp_timeout_time_wait.
        timeout: Option<u32>,
    },
    /// Rule 4.
    ClientFloods {
        /// Its address.
        name: String,
        /// Whether it stands for several.
        is_network: bool,
        /// Whether it passes through this host.
        forwarded: bool,
        /// Whether its address may be forged.
        forged: bool,
    },
    /// Rule 6.
    DeadPeers {
        /// nf_conntrack_tcp_timeout_established.
        timeout: Option<u32>,
    },
    /// Rule 8.
    RaiseMax {
        /// Now.
        max: u32,
        /// Advised.
        wanted: u32,
    },
}

/// The advice for a situation, if any rule fits.
pub fn hint(situation: &Situation) -> Option<Hint> {
    let wide = wider(situation);
    if situation.chains_long && wide.is_some() {
        return wide;
    }
    if let Some(table) = &situation.table {
        if let Some(hint) = of_table(table, situation) {
            return Some(hint);
        }
    }
    let crowded = match (situation.max, situation.buckets) {
        (Some(max), Some(buckets)) => max / MAX_PER_BUCKET > buckets,
        _ => false,
    };
    if crowded {
        return wide;
    }
    // nobody stands out, which takes a look into the table to say
    match (situation.max, &situation.table) {
        (Some(max), Some(table)) if situation.filling && !table.has_a_large_endpoint() => {
            Some(Hint::RaiseMax {
                max,
                wanted: max.saturating_mul(2),
            })
        }
        _ => None,
    }
}

/// As many buckets as entries, which kernels from 5.15 choose themselves; without a limit four times as many.
fn wider(situation: &Situation) -> Option<Hint> {
    let buckets = situation.buckets?;
    let wanted = situation
        .max
        .unwrap_or_default()
        .max(buckets.saturating_mul(4));
    Some(Hint::RaiseBuckets { buckets, wanted })
}

fn of_table(table: &TableFacts, situation: &Situation) -> Option<Hint> {
    if let Some(destination) = table
        .destination
        .as_ref()
        .filter(|destination| destination.share >= MUCH)
    {
        let (label, owner) = (destination.name.clone(), destination.evidence());
        if destination.unanswered > MOST {
            return Some(Hint::NoAnswer { label, owner });
        }
        if destination.time_wait > MOST {
            return Some(Hint::NotReused {
                label,
                owner,
                timeout: situation.timeout_time_wait,
            });
        }
    }
    if let Some(client) = table.client.as_ref().filter(|client| client.share >= MOST) {
        let EndpointFacts {
            name,
            is_network,
            forwarded,
            unproven,
            ..
        } = client.clone();
        return Some(Hint::ClientFloods {
            name,
            is_network,
            forwarded,
            forged: unproven >= NEARLY_ALL,
        });
    }
    if table.unanswered > MOST {
        return Some(Hint::Scan);
    }
    if table.established > MOST
        && table
            .established_without_socket
            .is_some_and(|share| share > MOST)
    {
        return Some(Hint::DeadPeers {
            timeout: situation.timeout_established,
        });
    }
    None
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |evidence: &Option<Evidence>| match evidence {
            None => String::new(),
            Some(evidence) if evidence.is_proof() => format!(" of {}", evidence.owner),
            Some(evidence) => format!(" ({evidence})"),
        };
        let now =
            |timeout: &Option<u32>| timeout.map(|n| format!(" (now {n} s)")).unwrap_or_default();
        match self {
            Self::RaiseBuckets { buckets, wanted } => write!(
                f,
                "raise net.netfilter.nf_conntrack_buckets (now {buckets}) to {wanted} before nf_conntrack_max, {} MB",
                (u64::from(*wanted) * 8).div_ceil(1_000_000)
            ),
            Self::NoAnswer { label, owner } => {
                write!(
                    f,
                    "{label} does not answer: is it up, is a firewall in between? stop the retries{}",
                    by(owner)
                )
            }
            Self::Scan => f.write_str(
                "most entries never got an answer: a scan or a flood, in or out of this host",
            ),
            Self::NotReused {
                label,
                owner,
                timeout,
            } => write!(
                f,
                "connections {label} are not reused: check the connection pool{}, each closed one stays for \
                 net.netfilter.nf_conntrack_tcp_timeout_time_wait{}",
                by(owner),
                now(timeout)
            ),
            Self::ClientFloods {
                name,
                is_network,
                forwarded,
                forged,
            } => {
                let forged = if *forged {
                    " (its address may be forged)"
                } else {
                    ""
                };
                let who = if *is_network { "network" } else { "client" };
                let does = if *forwarded {
                    "fills the table of this router"
                } else {
                    "floods this host"
                };
                write!(f, "one {who} {does}: ask or limit {name}{forged}")
            }
            Self::DeadPeers { timeout } => write!(
                f,
                "most established entries have no socket any more, their peers vanished: lower \
                 net.netfilter.nf_conntrack_tcp_timeout_established{}",
                now(timeout)
            ),
            Self::RaiseMax { max, wanted } => write!(
                f,
                "no endpoint stands out: raise net.netfilter.nf_conntrack_max (now {max}) to {wanted}, up to {} MB more",
                (u64::from(*wanted - *max) * ENTRY_BYTES).div_ceil(1_000_000)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(share: f64, time_wait: f64, unanswered: f64, is_client: bool) -> Option<TableFacts> {
        let name = if is_client {
            "198.51.100.9"
        } else {
            "to 192.0.2.7:6379/tcp"
        }
        .to_owned();
        let owner = Some("sidekiq.service".to_owned());
        let facts = Some(EndpointFacts {
            name,
            share,
            time_wait,
            unanswered,
            owner,
            entries: 100,
            seen: Some(SeenAtSockets {
                entries: 60,
                of_owner: if time_wait > MOST { 10 } else { 60 },
            }),
            ..EndpointFacts::default()
        });
        let (destination, client) = if is_client {
            (None, facts)
        } else {
            (facts, None)
        };
        Some(TableFacts {
            destination,
            client,
            ..TableFacts::default()
        })
    }

    fn full(table: Option<TableFacts>) -> Situation {
        Situation {
            max: Some(210_000),
            buckets: Some(262_144),
            filling: true,
            table,
            timeout_time_wait: Some(120),
            timeout_established: Some(432_000),
            ..Situation::default()
        }
    }

    fn said(situation: &Situation) -> String {
        hint(situation)
            .map(|hint| hint.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn long_chains_come_first_and_ask_for_buckets() {
        let situation = Situation {
            chains_long: true,
            max: Some(1_000_000),
            buckets: Some(512),
            ..full(table(0.9, 0.9, 0.0, false))
        };
        let text = said(&situation);
        assert!(
            text.starts_with(
                "raise net.netfilter.nf_conntrack_buckets (now 512) to 1000000 before"
            ),
            "{text}"
        );
        assert!(text.ends_with("8 MB"), "{text}");
    }

    #[test]
    fn a_destination_that_does_not_answer() {
        let text = said(&full(table(0.25, 0.0, 0.51, false)));
        assert!(
            text.starts_with("to 192.0.2.7:6379/tcp does not answer"),
            "{text}"
        );
        assert!(text.ends_with("of sidekiq.service"), "{text}");
        assert!(!said(&full(table(0.24, 0.0, 0.51, false))).contains("does not answer"));
    }

    #[test]
    fn connections_that_are_not_reused_name_the_pool_and_the_timeout() {
        let text = said(&full(table(0.25, 0.51, 0.0, false)));
        assert!(
            text.starts_with("connections to 192.0.2.7:6379/tcp are not reused"),
            "{text}"
        );
        assert!(
            text.contains(
                "connection pool (60 of 100 entries seen at a socket, 10 of sidekiq.service), each"
            ) && text.contains("timeout_time_wait (now 120 s)"),
            "{text}"
        );
        assert!(!said(&full(table(0.25, 0.5, 0.0, false))).contains("reused"));
        assert!(!said(&full(table(0.9, 0.9, 0.0, true))).contains("reused"));
    }

    #[test]
    fn one_client_with_half_of_the_table_floods() {
        assert!(
            said(&full(table(0.5, 0.0, 0.0, true)))
                .contains("one client floods this host: ask or limit 198.51.100.9")
        );
        assert!(!said(&full(table(0.49, 0.0, 0.0, true))).contains("floods"));
        let mut behind = table(0.5, 0.0, 0.0, true).unwrap();
        behind.client = behind.client.map(|client| EndpointFacts {
            is_network: true,
            forwarded: true,
            ..client
        });
        assert!(
            said(&full(Some(behind)))
                .starts_with("one network fills the table of this router: ask or limit")
        );
    }

    #[test]
    fn a_destination_behind_a_larger_client_is_still_judged() {
        let facts = TableFacts {
            destination: table(0.6, 0.9, 0.0, false).unwrap().destination,
            client: table(0.9, 0.9, 0.0, true).unwrap().client,
            ..TableFacts::default()
        };
        assert!(said(&full(Some(facts))).contains("are not reused"));
    }

    #[test]
    fn unanswered_entries_to_many_are_a_scan() {
        let facts = TableFacts {
            unanswered: 0.6,
            ..TableFacts::default()
        };
        assert_eq!(hint(&full(Some(facts))), Some(Hint::Scan));
    }

    #[test]
    fn established_entries_without_sockets_are_dead_peers() {
        let facts = |without| TableFacts {
            established: 0.9,
            established_without_socket: without,
            ..TableFacts::default()
        };
        assert!(said(&full(Some(facts(Some(0.6))))).contains("timeout_established (now 432000 s)"));
        assert!(!said(&full(Some(facts(Some(0.4))))).contains("timeout_established"));
        assert!(
            !said(&full(Some(facts(None)))).contains("timeout_established"),
            "nothing was looked up"
        );
    }

    #[test]
    fn too_few_buckets_for_the_maximum() {
        let situation = Situation {
            buckets: Some(26_000),
            ..full(None)
        };
        assert!(said(&situation).contains("nf_conntrack_buckets (now 26000) to 210000"));
        assert_eq!(
            hint(&Situation {
                buckets: Some(26_250),
                ..full(None)
            }),
            None
        );
    }

    #[test]
    fn when_nobody_stands_out_the_table_is_too_small() {
        let text = said(&full(table(0.1, 0.9, 0.0, false)));
        assert!(
            text.ends_with("nf_conntrack_max (now 210000) to 420000, up to 81 MB more"),
            "{text}"
        );
        assert_eq!(hint(&full(None)), None, "nobody looked");
        assert_eq!(
            hint(&full(table(0.9, 0.0, 0.0, false))),
            None,
            "more room would not last"
        );
        assert_eq!(
            hint(&Situation {
                filling: false,
                ..full(table(0.1, 0.0, 0.0, false))
            }),
            None
        );
    }
}
