//! The graphs: the labels of the perfdata in each of them, with captions and colours. The template for Graphite and the
//! dashboards for Grafana are made from this table, so that an operator finds the same graphs in both.

/// A graph of some values of the check.
pub(crate) struct Graph {
    /// A word for file names and sections.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    pub(crate) curves: &'static [Curve],
}

/// The way a graph shows its values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Values beside each other, and the ranges of the first curve as lines.
    Level(Unit),
    /// Values on top of each other.
    Stacked,
    /// Counters of the kernel, shown as increase per second.
    Rate,
}

/// The unit of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Percent,
    Count,
    Seconds,
}

/// One value of the check.
pub(crate) struct Curve {
    /// The label in the perfdata.
    pub(crate) label: &'static str,
    pub(crate) caption: &'static str,
    pub(crate) colour: &'static str,
}

const fn curve(label: &'static str, caption: &'static str, colour: &'static str) -> Curve {
    Curve {
        label,
        caption,
        colour,
    }
}

/// The graphs, the most important one first.
pub(crate) const GRAPHS: &[Graph] = &[
    Graph {
        name: "usage",
        title: "Connection tracking table, percent of its limit",
        kind: Kind::Level(Unit::Percent),
        curves: &[
            curve("usage", "usage", "#1a7dd7"),
            curve("peak", "peak between two checks", "#0b3c68"),
        ],
    },
    Graph {
        name: "losses",
        title: "Packets lost per second",
        kind: Kind::Rate,
        curves: &[
            // what is drawn last is on top; insert_failed counts the dropped packets again
            curve("early_drop", "entries evicted early", "#b0a090"),
            curve("insert_failed", "inserts that failed", "#c70fff"),
            curve(
                "chaintoolong",
                "hash chains too long, packets per second",
                "#ff8d00",
            ),
            curve("drop", "table full, packets per second", "#ff5566"),
        ],
    },
    Graph {
        name: "states",
        title: "Entries by state",
        kind: Kind::Stacked,
        curves: &[
            curve("established", "ESTABLISHED", "#44bb77"),
            curve("time_wait", "TIME_WAIT, already closed", "#aaaaaa"),
            curve("syn_sent", "SYN_SENT, unanswered", "#ff5566"),
            curve("syn_recv", "SYN_RECV", "#ff8d00"),
            curve("fin_wait", "FIN_WAIT", "#c0c0d8"),
            curve("close_wait", "CLOSE_WAIT", "#8866cc"),
            curve("last_ack", "LAST_ACK", "#d8c0d8"),
            curve("close", "CLOSE", "#777777"),
            curve("udp", "UDP", "#1a7dd7"),
            curve("icmp", "ICMP", "#44cccc"),
            curve("other", "other protocols", "#665544"),
        ],
    },
    Graph {
        name: "entries",
        title: "Entries in the table",
        kind: Kind::Level(Unit::Count),
        curves: &[
            curve("entries", "entries", "#1a7dd7"),
            curve("endpoint", "of the largest remote endpoint", "#8866cc"),
            curve("unreplied", "without a reply", "#ff8d00"),
            curve("evictable", "evictable", "#aaaaaa"),
        ],
    },
    Graph {
        name: "growth",
        title: "Growth, entries per minute",
        kind: Kind::Level(Unit::Count),
        curves: &[curve("growth", "entries per minute", "#44bb77")],
    },
    Graph {
        name: "full",
        title: "Time until the table is full",
        kind: Kind::Level(Unit::Seconds),
        curves: &[curve("full_in", "seconds until full", "#ff5566")],
    },
    Graph {
        name: "ports",
        title: "Source ports and expectations in use, percent",
        kind: Kind::Level(Unit::Percent),
        curves: &[
            curve("ports", "source ports of the busiest pair", "#1a7dd7"),
            curve("expect", "expectations", "#8866cc"),
        ],
    },
    Graph {
        name: "chain",
        title: "Mean hash chain length",
        kind: Kind::Level(Unit::Count),
        curves: &[curve("chain", "nodes", "#1a7dd7")],
    },
];

/// Labels without a graph: the increase that a counter shows already, and a number of network namespaces.
#[allow(dead_code, reason = "the tests compare the table with the perfdata")]
pub(crate) const WITHOUT: [&str; 2] = ["lost", "namespaces"];
