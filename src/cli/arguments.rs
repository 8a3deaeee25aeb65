//! The options as clap reads them, and the text of `--help`.
//!
//! The lines of the help are broken by hand, so that the help fits a terminal of 80 columns without code that wraps it.

use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, Parser};

use super::DEFAULT_RECORD;

/// The name in the help, whatever the caller passes as argv\[0\].
const PROGRAM: &str = "check_conntrack";

/// Checks how full the connection tracking table of the kernel (nf_conntrack) is
#[derive(Debug, Clone, Parser)]
#[command(name = PROGRAM, no_binary_name = true, version, infer_long_args = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[group(skip)] // no other option refers to the group of all, which clap would fill on every run
pub(super) struct Args {
    /// WARNING if METRIC is outside RANGE
    /// [default: usage=80 chain=15]
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true, action = ArgAction::Append)]
    #[arg(help_heading = "Thresholds, repeatable", verbatim_doc_comment)]
    pub(super) warning: Vec<String>,

    /// CRITICAL if METRIC is outside RANGE
    /// [default: usage=90 chain=30]
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true, action = ArgAction::Append)]
    #[arg(help_heading = "Thresholds, repeatable", verbatim_doc_comment)]
    pub(super) critical: Vec<String>,

    /// Name the N largest remote endpoints, 1 to 50
    /// [default: off, 5 without N]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5", allow_hyphen_values = false)]
    #[arg(help_heading = "Who fills the table", verbatim_doc_comment)]
    pub(super) top: Option<String>,

    /// When to read the table: always, or problem
    /// (only if the state is not OK) [default: always]
    #[arg(
        long,
        value_name = "WHEN",
        help_heading = "Who fills the table",
        verbatim_doc_comment
    )]
    pub(super) top_when: Option<String>,

    /// Group clients by prefix length [default: 32,64]
    #[arg(long, value_name = "V4,V6", help_heading = "Who fills the table")]
    pub(super) aggregate: Option<String>,

    /// More addresses that are this host's own
    #[arg(
        long,
        value_name = "ADDR[/LEN],...",
        help_heading = "Who fills the table"
    )]
    pub(super) own: Vec<String>,

    /// Read entries from auto, netlink, procfs, sockets
    /// or recording [default: auto]
    #[arg(
        long,
        value_name = "SOURCE",
        help_heading = "Sources",
        verbatim_doc_comment
    )]
    pub(super) source: Option<String>,

    /// Analyse a capture: /proc/net/nf_conntrack or
    /// conntrack -L, plain or gzip, - is stdin
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Sources",
        verbatim_doc_comment
    )]
    pub(super) table: Option<PathBuf>,

    /// Limit of the host of --table [default: this host's]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        help_heading = "Sources"
    )]
    pub(super) max: Option<String>,

    /// Read N entries, extrapolate; 0: all [default: 20000]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        help_heading = "Sources"
    )]
    pub(super) sample: Option<String>,

    /// Judge this network namespace (self) or every one
    /// of this host (all) [default: self]
    #[arg(
        long,
        value_name = "WHICH",
        help_heading = "Sources",
        verbatim_doc_comment
    )]
    pub(super) netns: Option<String>,

    /// Read all files below this procfs [default: /proc]
    #[arg(long, value_name = "DIR", help_heading = "Sources")]
    pub(super) proc_root: Option<PathBuf>,

    /// Run as a recorder, a sample every SECONDS (1-60)
    /// [default: off, 10 without SECONDS]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_RECORD)]
    #[arg(
        allow_hyphen_values = false,
        help_heading = "Recorder",
        verbatim_doc_comment
    )]
    pub(super) record: Option<String>,

    /// Where --record writes and a check reads
    /// [default: /run/check_conntrack]
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Recorder",
        verbatim_doc_comment
    )]
    pub(super) recording: Option<PathBuf>,

    /// STATE if nothing is tracked: ok, warning, critical,
    /// unknown [default: unknown]
    #[arg(long, visible_alias = "no-conntrack", value_name = "STATE")]
    #[arg(help_heading = "State", verbatim_doc_comment)]
    pub(super) absent: Option<String>,

    /// STATE if the table is empty although connections
    /// to other hosts are open [default: ok]
    #[arg(
        long,
        value_name = "STATE",
        help_heading = "State",
        verbatim_doc_comment
    )]
    pub(super) empty: Option<String>,

    /// Keep the counters of the previous run in DIR
    /// [default: /var/lib/check_conntrack]
    #[arg(long, value_name = "DIR", help_heading = "State", verbatim_doc_comment)]
    pub(super) state_dir: Option<PathBuf>,

    /// Stop after SECONDS, 1-3600, and report [default: 8]
    #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
    #[arg(help_heading = "Output")]
    pub(super) timeout: Option<String>,

    /// More detail lines, up to -vvv
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output", verbatim_doc_comment)]
    pub(super) verbose: u8,

    /// Print the version and exit with 3
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Output")]
    pub(super) version: Option<bool>,

    /// Print this help and exit with 3
    #[arg(short, long, action = ArgAction::HelpShort, help_heading = "Output")]
    pub(super) help: Option<bool>,

    /// WARN CRIT, for the scripts this replaces; not for new definitions, hence not in the help
    #[arg(hide = true, value_name = "WARN CRIT")]
    pub(super) positional: Vec<String>,
}

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
pub fn command() -> clap::Command {
    Args::command().after_help(AFTER_HELP)
}
