//! The options as clap reads them, and the text of `--help`.
//!
//! The options are a table that one loop hands to clap. Code for each option, which clap's derive writes, was 43 KB of
//! stack in a run. The lines of the help are broken by hand, so that the help fits a terminal of 80 columns without code
//! that wraps it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use super::DEFAULT_RECORD;

/// The name in the help, whatever the caller passes as argv\[0\].
const PROGRAM: &str = "check_conntrack";
const ABOUT: &str = "Checks how full the connection tracking table of the kernel (nf_conntrack) is";

/// The identifier of the arguments without an option: WARN and CRIT.
pub(super) const POSITIONAL: &str = "positional";

/// An option of the table below.
struct Flag {
    /// The long name, which is clap's identifier of the option, too.
    long: &'static str,
    short: Option<char>,
    alias: Option<&'static str>,
    takes: Takes,
    /// The name of the value in the help.
    value: &'static str,
    help: &'static str,
}

/// The values that an option takes.
enum Takes {
    /// One text.
    Text,
    /// One text, which may begin with a hyphen, so that a negative number is refused as a number.
    Number,
    /// One text, or none for this one.
    Optional(&'static str),
    /// A text each time that the option is given.
    Texts,
    /// Like `Texts`; the text may begin with a hyphen.
    Ranges,
    /// One path, of any bytes.
    File,
    /// No value.
    Nothing(ArgAction),
}

impl Flag {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    fn arg(&self, heading: &'static str) -> Arg {
        let arg = Arg::new(self.long)
            .long(self.long)
            .short(self.short)
            .visible_aliases(self.alias)
            .help(self.help)
            .help_heading(heading);
        let arg = match &self.takes {
            Takes::Nothing(action) => return arg.action(action.clone()),
            Takes::Text => arg,
            Takes::Number => arg.allow_hyphen_values(true),
            Takes::Optional(without) => arg.num_args(0..=1).default_missing_value(without),
            Takes::Texts => arg.action(ArgAction::Append),
            Takes::Ranges => arg.action(ArgAction::Append).allow_hyphen_values(true),
            Takes::File => arg.value_parser(value_parser!(PathBuf)),
        };
        arg.value_name(self.value)
    }
}

const fn flag(long: &'static str, takes: Takes, value: &'static str, help: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        alias: None,
        takes,
        value,
        help,
    }
}

/// The options below their headings, in the order of the help.
const FLAGS: [(&str, &[Flag]); 6] = [
    (
        "Thresholds, repeatable",
        &[
            flag(
                "warning",
                Takes::Ranges,
                "[METRIC=]RANGE",
                "WARNING if METRIC is outside RANGE\n\
                 [default: usage=80 chain=15]",
            )
            .short('w'),
            flag(
                "critical",
                Takes::Ranges,
                "[METRIC=]RANGE",
                "CRITICAL if METRIC is outside RANGE\n\
                 [default: usage=90 chain=30]",
            )
            .short('c'),
        ],
    ),
    (
        "Who fills the table",
        &[
            flag(
                "top",
                Takes::Optional("5"),
                "N",
                "Name the N largest remote endpoints, 1 to 50\n\
                 [default: off, 5 without N]",
            ),
            flag(
                "top-when",
                Takes::Text,
                "WHEN",
                "When to read the table: always, or problem\n\
                 (only if the state is not OK) [default: always]",
            ),
            flag(
                "aggregate",
                Takes::Text,
                "V4,V6",
                "Group clients by prefix length [default: 32,64]",
            ),
            flag(
                "own",
                Takes::Texts,
                "ADDR[/LEN],...",
                "More addresses that are this host's own",
            ),
        ],
    ),
    (
        "Sources",
        &[
            flag(
                "source",
                Takes::Text,
                "SOURCE",
                "Read entries from auto, netlink, procfs, sockets\n\
                 or recording [default: auto]",
            ),
            flag(
                "table",
                Takes::File,
                "FILE",
                "Analyse a capture: /proc/net/nf_conntrack or\n\
                 conntrack -L, plain or gzip, - is stdin",
            ),
            flag(
                "max",
                Takes::Number,
                "N",
                "Limit of the host of --table [default: this host's]",
            ),
            flag(
                "sample",
                Takes::Number,
                "N",
                "Read N entries, extrapolate; 0: all [default: 20000]",
            ),
            flag(
                "netns",
                Takes::Text,
                "WHICH",
                "Judge this network namespace (self) or every one\n\
                 of this host (all) [default: self]",
            ),
            flag(
                "proc-root",
                Takes::File,
                "DIR",
                "Read all files below this procfs [default: /proc]",
            ),
        ],
    ),
    (
        "Recorder",
        &[
            flag(
                "record",
                Takes::Optional(DEFAULT_RECORD),
                "SECONDS",
                "Run as a recorder, a sample every SECONDS (1-60)\n\
                 [default: off, 10 without SECONDS]",
            ),
            flag(
                "recording",
                Takes::File,
                "DIR",
                "Where --record writes and a check reads\n\
                 [default: /run/check_conntrack]",
            ),
        ],
    ),
    (
        "State",
        &[
            flag(
                "absent",
                Takes::Text,
                "STATE",
                "STATE if nothing is tracked: ok, warning, critical,\n\
                 unknown [default: unknown]",
            )
            .alias("no-conntrack"),
            flag(
                "empty",
                Takes::Text,
                "STATE",
                "STATE if the table is empty although connections\n\
                 to other hosts are open [default: ok]",
            ),
            flag(
                "state-dir",
                Takes::File,
                "DIR",
                "Keep the counters of the previous run in DIR\n\
                 [default: /var/lib/check_conntrack]",
            ),
        ],
    ),
    (
        "Output",
        &[
            flag(
                "timeout",
                Takes::Number,
                "SECONDS",
                "Stop after SECONDS, 1-3600, and report [default: 8]",
            )
            .short('t'),
            flag(
                "verbose",
                Takes::Nothing(ArgAction::Count),
                "",
                "More detail lines, up to -vvv",
            )
            .short('v'),
            flag(
                "version",
                Takes::Nothing(ArgAction::Version),
                "",
                "Print the version and exit with 3",
            )
            .short('V'),
            flag(
                "help",
                Takes::Nothing(ArgAction::HelpShort),
                "",
                "Print this help and exit with 3",
            )
            .short('h'),
        ],
    ),
];

const AFTER_HELP: &str = "\
RANGE is [@]START:END. It alerts outside START to END, with @ inside; both ends
are inside. N is 0:N, N: has no end, ~:N no start. A bare RANGE is for usage.
METRIC:
  usage    entries in percent of nf_conntrack_max
  entries  entries in the table
  free     entries that still fit: free=20000: or 10%:
  chain    mean hash chain length, 2 * entries / nf_conntrack_buckets
  lost     packets lost since the previous run: lost=0
  drop chaintoolong early_drop insert_failed  increase of that counter
  growth   entries per minute since the previous run: growth=~:500
  full_in  time until the table is full at that growth: full_in=30m:
  peak     highest usage since the previous run, percent (recording)
  ports    percent of the source ports to one far port in use
  expect   expectations in percent of nf_conntrack_expect_max
  endpoint entries of the largest remote endpoint
  established time_wait syn_sent syn_recv fin_wait close_wait last_ack close udp
  icmp other unreplied evictable  entries in that class
Metrics from ports on read the table. entries=80% is of nf_conntrack_max.
A range on usage, entries or free replaces the defaults of usage, one on chain
those of chain. A table above its warning range for usage, entries or free that
would be full before the next run is CRITICAL; -c full_in=~: switches that off.
Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
Examples:
  check_conntrack -w 75 -c 90 -w free=20000:
  check_conntrack -c entries=200000 --absent ok
  check_conntrack --top --top-when problem";

/// The command line as clap knows it, with the text below the options: for the help, the man page, the completions and
/// the tests.
pub fn command() -> Command {
    options().after_help(AFTER_HELP)
}

/// The command line without the text below the options.
pub(super) fn options() -> Command {
    let mut command = Command::new(PROGRAM)
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .no_binary_name(true)
        .infer_long_args(true)
        .disable_help_flag(true)
        .disable_version_flag(true);
    for (heading, flags) in FLAGS {
        for flag in flags {
            command = command.arg(flag.arg(heading));
        }
    }
    // for the scripts that this program replaces; not for new definitions, hence not in the help
    let positional = Arg::new(POSITIONAL).action(ArgAction::Append).num_args(1..);
    command.arg(positional.value_name("WARN CRIT").hide(true))
}
