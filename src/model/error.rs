//! Errors of reading the kernel's files, and the hint that would help.

use thiserror::Error;

use crate::model::dump::Gap;
use crate::model::foreign::Foreign;
use crate::model::no_recording::NoRecording;

/// A reading that failed. Paths are already safe to print.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// sys/net is there and holds no conntrack file: this kernel does not track connections.
    #[error("this kernel does not track connections, there is no conntrack file below {directory}")]
    NotTracking {
        /// PROC_ROOT/sys/net.
        directory: String,
    },
    /// A file could not be read.
    #[error("{path}{kind}")]
    File {
        /// What it is for.
        what: FilePurpose,
        /// Its path.
        path: String,
        /// What is the matter with it.
        kind: FileError,
    },
    /// The file of --table holds no table.
    #[error("{path} {problem}")]
    NoCapture {
        /// The file, or standard input.
        path: String,
        /// The thing that stands in its place.
        problem: Foreign,
    },
    /// A part of the table was not read.
    #[error("{0}")]
    Incomplete(Gap),
    /// No line of /proc/net/nf_conntrack could be parsed.
    #[error("none of the {lines} lines of {path} could be parsed")]
    NothingParsed {
        /// The file.
        path: String,
        /// Its lines.
        lines: u64,
    },
    /// No address of the host that a capture comes from is known, so either end of an entry may be remote.
    #[error("no address {} occurs in the capture", if_given(*.given))]
    OwnMissing {
        /// True if addresses were given with --own.
        given: bool,
    },
    /// A capture says nothing about the hash table of its host.
    #[error("a capture does not tell how many hash buckets its host has")]
    NoBuckets,
    /// A capture says nothing about expectations.
    #[error("a capture does not tell how many expectations its host has")]
    NoExpectations,
    /// Netlink tells of the live kernel, not of another proc root.
    #[error("netlink is not used with another proc root")]
    OtherProcRoot,
    /// A dump would stall a processor while it walks the entries of other namespaces.
    #[error(
        "dump skipped: walking {elsewhere} entries of other network namespaces would stall a CPU"
    )]
    DumpWouldStall {
        /// Entries of the other namespaces.
        elsewhere: u64,
    },
    /// Reading the file takes time that grows with the square of its length.
    #[error("reading so many entries is slow before kernel 6.16")]
    ProcfsTooSlow,
    /// Entries were counted on local sockets, which are not the table.
    #[error("only local sockets could be read, not the table")]
    OnlySockets,
    /// EPERM or EACCES of a netlink request.
    #[error("{what} needs {needs}")]
    NotPermitted {
        /// The request.
        what: &'static str,
        /// The capability that would allow it.
        needs: &'static str,
    },
    /// A netlink request that was refused, or answers that broke off.
    #[error("{what} failed: {reason}")]
    Netlink {
        /// The request.
        what: &'static str,
        /// The error, in the system's words if the system has some.
        reason: String,
    },
    /// Another network namespace was not entered, and its table is not to be had otherwise.
    #[error("the table of another network namespace needs {needs}")]
    NotEntered {
        /// The capability that would allow it.
        needs: &'static str,
    },
    /// Nobody is left who shows the namespace.
    #[error("process {pid} of the network namespace has ended")]
    ProcessGone {
        /// By which it was known.
        pid: i32,
    },
    /// The walk over the processes ended before it had looked at all of them.
    #[error("timed out before every process was looked at")]
    WalkCutShort,
    /// hidepid (proc(5)).
    #[error("{proc_root} hides processes of other users and so their network namespaces")]
    HiddenProcesses {
        /// The procfs.
        proc_root: String,
    },
    /// There is nothing to compare with, and that is as it should be: this run writes the baseline for the next one.
    #[error("first run: {why}")]
    NoBaseline {
        /// The reason.
        why: NoBaseline,
    },
    /// The previous run did not look at this network namespace: its walk over the processes ended early.
    #[error("the previous run did not reach this network namespace")]
    PreviousRunIncomplete,
    /// The directory for the state cannot be used, so no run is ever compared with another.
    #[error("{path} {problem}")]
    NoState {
        /// The directory.
        path: String,
        /// The fault of the file, as a verb and the rest of the sentence.
        problem: NoState,
    },
    /// The readings could not be stored for the next run.
    #[error("the state for the next run could not be written to {path}: {reason}")]
    StateNotWritten {
        /// The directory.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A capture is not compared with anything.
    #[error("a capture has no previous run")]
    NoPreviousCapture,
    /// A capture whose end, and so how many entries it holds, was not seen.
    #[error("timed out before the capture was read to its end")]
    CaptureUnfinished,
    /// A capture whose rest cannot be read, as gzip data that was cut off.
    #[error("reading the capture failed after {read} entries: {reason}")]
    CaptureBroken {
        /// The entries before.
        read: u64,
        /// The system's words, or those of the decompressor.
        reason: String,
    },
    /// The recording is not used.
    #[error("{path} {problem}")]
    NoRecording {
        /// The file, or its directory.
        path: String,
        /// The fault of the file, as a verb and the rest of the sentence.
        problem: NoRecording,
    },
    /// The time was up before this was read.
    #[error("timed out before it was read")]
    NotReached,
}

/// What a file is for, if a reader needs other advice about it than about any file of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePurpose {
    /// A file of the kernel.
    File,
    /// The directory sys/net.
    SysNet,
    /// The counters, net/stat/nf_conntrack.
    Statistics,
    /// The table as text, net/nf_conntrack.
    Table,
    /// The file that shows the network namespace of a process.
    Namespace,
}

/// What is the matter with a file, in the words that follow its path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// It is not there.
    #[error(" does not exist")]
    Missing,
    /// It is not there while another that belongs with it exists.
    #[error(" does not exist although {witness} does")]
    MissingBeside {
        /// The one that is there.
        witness: String,
    },
    /// EACCES or EPERM.
    #[error(": permission denied")]
    Denied,
    /// A directory, a fifo, a device.
    #[error(" is a {kind}, not a kernel file")]
    WrongKind {
        /// The thing that is limited.
        kind: &'static str,
    },
    /// Nothing in it.
    #[error(" is empty")]
    Empty,
    /// More in it than the kernel ever writes.
    #[error(" is longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// Something in it the kernel never writes.
    #[error(" says {found}, not {expected}")]
    Malformed {
        /// The beginning of what it says, cleaned.
        found: String,
        /// The text that the kernel would write.
        expected: &'static str,
    },
    /// A negative number of entries: the kernel took away more than it had counted.
    #[error(" says {count}, the kernel's counter wrapped")]
    CountWrapped {
        /// The number, as a signed one.
        count: i64,
    },
    /// Any other error of the system.
    #[error(" cannot be read: {reason}")]
    Io {
        /// The system's words.
        reason: String,
    },
}

/// The reason why a run has no previous run to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoBaseline {
    /// This service has no state file yet.
    #[error("no previous run is known")]
    FirstRun,
    /// The file is damaged.
    #[error("the state of the previous run is not readable")]
    Unreadable,
    /// The file was written by another version of this check.
    #[error("the state of the previous run was written by another version of this check")]
    OtherVersion,
    /// The file, or what stands in its place, was not written by this user.
    #[error("the state of the previous run is not a file of this user")]
    Foreign,
    /// The host was rebooted.
    #[error("the host was rebooted since the previous run")]
    OtherBoot,
    /// The state is of another network namespace.
    #[error("the previous run did not see this network namespace")]
    OtherNamespace,
    /// The time of the previous run is later than now.
    #[error("the previous run lies in the future")]
    Future,
    /// The previous run was so long ago that a difference means nothing.
    #[error("the previous run is more than 7 days ago")]
    TooOld,
    /// The previous run was a moment ago, and none is known before it.
    #[error("the previous run is only a moment ago")]
    TooRecent,
    /// Processors were added or taken away, or the kernel counts other events.
    #[error("the set of CPUs has changed since the previous run")]
    OtherProcessors,
    /// Counters fell: the module was loaded anew.
    #[error("the counters were reset since the previous run")]
    Reset,
    /// No previous run could read the counters.
    #[error("the previous run had no counters")]
    NoCounters,
}

/// The fault of the directory for the state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoState {
    /// It is not there.
    #[error("does not exist")]
    Missing,
    /// Something else is.
    #[error("is not a directory, or a symbolic link to one")]
    NotADirectory,
    /// Its name ends in `..`, which may lead through a symbolic link.
    #[error("ends in .., which may lead through a symbolic link")]
    EndsInParent,
    /// It may not be written to.
    #[error("may not be written to by this user")]
    Denied,
    /// Any other error of the system.
    #[error("cannot be used: {reason}")]
    Io {
        /// The system's words.
        reason: String,
    },
    /// It would be written to by somebody else than the caller.
    #[error("is not used while this program runs setuid or setgid")]
    AnotherUser,
    /// This host's identity could not be read.
    #[error("cannot be used: {path} is not readable")]
    NoIdentity {
        /// The file that could not be read.
        path: String,
    },
}

/// The addresses that a capture was searched for, in words.
fn if_given(given: bool) -> &'static str {
    if given { "of --own" } else { "of this host" }
}

impl ReadError {
    /// An error of a file that needs no other advice than any file of the kernel. The path is safe to print.
    pub fn file(path: String, kind: FileError) -> Self {
        Self::File {
            what: FilePurpose::File,
            path,
            kind,
        }
    }

    /// The same error with the subject of its file, if it is one of a file.
    #[must_use]
    pub fn about(mut self, subject: FilePurpose) -> Self {
        if let Self::File { what, .. } = &mut self {
            *what = subject;
        }
        self
    }

    /// What is the matter with the file, if it is an error of a file.
    pub fn of_file(&self) -> Option<&FileError> {
        match self {
            Self::File { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// The hint, as a question or an advice; none if the error says it all.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotTracking { .. } => Some(
                "is the nf_conntrack module loaded? if this host is not meant to track connections use --absent ok",
            ),
            Self::File { what, kind, .. } => kind.hint(*what),
            Self::CaptureUnfinished | Self::WalkCutShort => {
                Some("more time is given with --timeout")
            }
            Self::OnlySockets => Some("the table needs CAP_NET_ADMIN"),
            Self::DumpWouldStall { .. } => Some("use --source netlink to dump anyway"),
            Self::NoState {
                problem: NoState::Missing,
                ..
            } => Some(
                "create it for the user of this check, with mode 0700, or name another with --state-dir",
            ),
            Self::NoState {
                problem: NoState::NotADirectory | NoState::Denied,
                ..
            } => Some("it has to be a directory that the user of this check may write to"),
            Self::HiddenProcesses { .. } => Some(
                "is /proc mounted with hidepid? add the monitoring group with the mount option gid=",
            ),
            Self::StateNotWritten { .. } => Some("is the disk full, or mounted read-only?"),
            Self::NoState {
                problem: NoState::EndsInParent,
                ..
            } => Some("name the directory itself"),
            Self::NoRecording {
                problem: NoRecording::Missing | NoRecording::Stale { .. },
                ..
            } => Some("is check_conntrack-recorder.service running?"),
            Self::NoRecording {
                problem: NoRecording::OtherProcRoot,
                ..
            } => Some("--recording names one"),
            Self::NoBaseline { .. }
            | Self::NoRecording { .. }
            | Self::PreviousRunIncomplete
            | Self::NoState { .. }
            | Self::NoPreviousCapture
            | Self::NotEntered { .. }
            | Self::ProcessGone { .. }
            | Self::NotReached
            | Self::OtherProcRoot
            | Self::ProcfsTooSlow => None,
            Self::NotPermitted { .. } => Some(
                "the capability must be held in the user namespace that owns this network namespace, check for a sandbox",
            ),
            Self::Netlink { .. } => Some(
                "was the kernel built without this part of netlink, or does a sandbox refuse AF_NETLINK sockets?",
            ),
            Self::NoCapture { .. } => Some(
                "--table takes lines of /proc/net/nf_conntrack or of conntrack -L, plain or gzip, from a file or - for standard input",
            ),
            Self::OwnMissing { .. } => Some("name the addresses of its host with --own"),
            Self::Incomplete(_)
            | Self::CaptureBroken { .. }
            | Self::NothingParsed { .. }
            | Self::NoBuckets
            | Self::NoExpectations => None,
        }
    }

    /// True if the entries could be read with more privilege.
    pub fn needs_privilege(&self) -> bool {
        match self {
            Self::NotPermitted { .. } | Self::NotEntered { .. } => true,
            Self::File { what, kind, .. } => {
                *what == FilePurpose::Table && *kind == FileError::Denied
            }
            _ => false,
        }
    }

    /// True if the thing is simply not there, which many kernels are built for.
    pub fn is_missing(&self) -> bool {
        self.of_file() == Some(&FileError::Missing)
            || matches!(self, Self::NoBuckets | Self::NotTracking { .. })
    }
}

impl FileError {
    /// What would help; none if the error says it all.
    fn hint(&self, what: FilePurpose) -> Option<&'static str> {
        match (self, what) {
            (Self::Missing, FilePurpose::SysNet) => Some(
                "is this a procfs? mounted with subset=pid, as ProcSubset=pid in a systemd unit does?",
            ),
            (Self::Missing, FilePurpose::Statistics) => Some(
                "kernel built without CONFIG_NF_CONNTRACK_PROCFS, reading its counters requires CAP_NET_ADMIN",
            ),
            (Self::Missing, FilePurpose::Table) => {
                Some("kernels built without CONFIG_NF_CONNTRACK_PROCFS have no such file")
            }
            (Self::Missing, FilePurpose::Namespace) => Some(
                "kernels built without CONFIG_NF_CONNTRACK_PROCFS do not show other network namespaces",
            ),
            (Self::Missing | Self::MissingBeside { .. }, _) => {
                Some("is the nf_conntrack module loaded? does a sandbox hide part of /proc?")
            }
            (Self::Denied, FilePurpose::Table) => {
                Some("reading it requires root, gid 0 or CAP_DAC_READ_SEARCH")
            }
            (Self::Denied, _) => Some(
                "every user may read it on an ordinary kernel: does a sandbox or its mount hide it?",
            ),
            (
                Self::WrongKind { .. }
                | Self::Empty
                | Self::TooLong { .. }
                | Self::Malformed { .. },
                _,
            ) => Some("is this a procfs? check --proc-root and what is mounted there"),
            (Self::CountWrapped { .. }, _) => Some("a kernel fault, a reboot resets the counter"),
            (Self::Io { .. }, _) => None,
        }
    }
}
