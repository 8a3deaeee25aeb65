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
    /// Any other error of the system.
    #[error("{path} cannot be read: {reason}")]
    Io {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
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
            Self::NoStatistics { .. } => {
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
            Self::Io { .. } | Self::NotReached => None,
        }
    }

    /// Whether the thing is simply not there, which many kernels are built for.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NoStatistics { .. }
                | Self::NotTracking { .. }
                | Self::NoSysNet { .. }
        )
    }
}
