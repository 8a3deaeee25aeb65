//! What can go wrong while the kernel's files are read, and what would help.

use thiserror::Error;

/// A reading that failed. Paths are already safe to print.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// sys/net is there and holds no conntrack file: this kernel does not track connections.
    #[error("this kernel does not track connections, there is no conntrack file below {directory}")]
    NotTracking {
        /// PROC_ROOT/sys/net.
        directory: String,
    },
    /// Not even sys/net is there.
    #[error("{directory} does not exist")]
    NoSysNet {
        /// PROC_ROOT/sys/net.
        directory: String,
    },
    /// The file is missing while another that belongs with it exists.
    #[error("{path} does not exist although {witness} does")]
    Half {
        /// The missing file.
        path: String,
        /// The one that is there.
        witness: String,
    },
    /// The file is missing.
    #[error("{path} does not exist")]
    Missing {
        /// The file.
        path: String,
    },
    /// There is no statistics file.
    #[error("{path} does not exist")]
    NoStatistics {
        /// The file.
        path: String,
    },
    /// EACCES or EPERM.
    #[error("{path} may not be read by this user")]
    Denied {
        /// The file.
        path: String,
    },
    /// There is no /proc/net/nf_conntrack.
    #[error("{path} does not exist")]
    NoTable {
        /// The file.
        path: String,
    },
    /// /proc/net/nf_conntrack is there, with mode 0440 (`nf_conntrack_standalone_init_proc` in
    /// nf_conntrack_standalone.c).
    #[error("{path} may not be read without root, gid 0 or CAP_DAC_READ_SEARCH")]
    TableDenied {
        /// The file.
        path: String,
    },
    /// What --table names is no file of lines.
    #[error("{path} {problem}")]
    NoCapture {
        /// The file, or standard input.
        path: String,
        /// What is the matter with it, as a verb and the rest.
        problem: &'static str,
    },
    /// A directory, a fifo, a device.
    #[error("{path} is a {kind}, not a kernel file")]
    WrongKind {
        /// The file.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Nothing in it.
    #[error("{path} is empty")]
    Empty {
        /// The file.
        path: String,
    },
    /// More in it than the kernel ever writes.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: String,
        /// The most that is read.
        limit: usize,
    },
    /// Something in it the kernel never writes.
    #[error("{path} says {found}, not {expected}")]
    Malformed {
        /// The file.
        path: String,
        /// The beginning of what it says, cleaned.
        found: String,
        /// What the kernel would write.
        expected: &'static str,
    },
    /// Netlink tells of the live kernel, not of another proc root.
    #[error("netlink is not used with another proc root")]
    OtherProcRoot,
    /// A dump would stall a processor while it walks the entries of other namespaces.
    #[error("{elsewhere} entries in other network namespaces make a dump too costly")]
    Crowded {
        /// Entries of the other namespaces.
        elsewhere: u64,
    },
    /// Reading the file takes time that grows with the square of its length.
    #[error(
        "reading {entries} entries from /proc/net/nf_conntrack takes too long before kernel 6.16"
    )]
    Quadratic {
        /// nf_conntrack_count.
        entries: u32,
    },
    /// Entries were counted on local sockets, which are not the table.
    #[error("only local sockets could be read, not the table")]
    OnlySockets,
    /// Any other error of the system.
    #[error("{path} cannot be read: {reason}")]
    Io {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// EPERM or EACCES of a netlink request.
    #[error("{what} needs {needs}")]
    NotPermitted {
        /// What was asked for.
        what: &'static str,
        /// The capability that would allow it.
        needs: &'static str,
    },
    /// A netlink request that was refused, or answers that broke off.
    #[error("{what} failed: {reason}")]
    Netlink {
        /// What was asked for.
        what: &'static str,
        /// What happened, in the system's words where it has some.
        reason: String,
    },
    /// A capture whose end, and so how many entries it holds, was not seen.
    #[error("the time was up before the capture was read to its end")]
    CaptureUnfinished,
    /// The time was up before this was read.
    #[error("the time was up before it was read")]
    NotReached,
}

impl ReadError {
    /// What would help, as a question or an advice; nothing where the error says it all.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotTracking { .. } => Some(
                "is the nf_conntrack module loaded? if this host is not meant to track connections use --absent ok",
            ),
            Self::NoSysNet { .. } => Some(
                "is this a procfs? mounted with subset=pid, as ProcSubset=pid in a systemd unit does?",
            ),
            Self::NoStatistics { .. } | Self::NoTable { .. } => {
                Some("kernels built without CONFIG_NF_CONNTRACK_PROCFS have no such file")
            }
            Self::Half { .. } | Self::Missing { .. } => {
                Some("is the nf_conntrack module loaded? does a sandbox hide part of /proc?")
            }
            Self::Denied { .. } => Some(
                "every user may read it on an ordinary kernel: does a sandbox or its mount hide it?",
            ),
            Self::WrongKind { .. }
            | Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::Malformed { .. } => {
                Some("is this a procfs? check --proc-root and what is mounted there")
            }
            Self::CaptureUnfinished => Some("more time is given with --timeout"),
            Self::OnlySockets => Some("the table needs CAP_NET_ADMIN"),
            Self::Crowded { .. } => Some("--source netlink reads the table all the same"),
            Self::TableDenied { .. }
            | Self::Io { .. }
            | Self::NotReached
            | Self::OtherProcRoot
            | Self::Quadratic { .. } => None,
            Self::NotPermitted { .. } => Some(
                "the capability counts in the user namespace that owns this network namespace, does a sandbox take it away?",
            ),
            Self::Netlink { .. } => Some(
                "was the kernel built without this part of netlink, or does a sandbox refuse AF_NETLINK sockets?",
            ),
            Self::NoCapture { .. } => Some(
                "--table takes a file of lines of /proc/net/nf_conntrack or of conntrack -L, or - for standard input",
            ),
        }
    }

    /// Whether the thing is simply not there, which many kernels are built for.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NoStatistics { .. }
                | Self::NoTable { .. }
                | Self::NotTracking { .. }
                | Self::NoSysNet { .. }
        )
    }
}
