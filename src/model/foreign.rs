//! Things that `--table` is given and that are no table.

use std::fmt;

/// The thing that stands in the place of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// There is no such file.
    Missing,
    /// EACCES or EPERM.
    Denied,
    /// A socket, or a device without a driver.
    Socket,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// Standard input that was not given.
    Closed,
    /// Nothing, or blank lines only.
    Empty,
    /// The summary of `conntrack -L` without the entries that it counts.
    SummaryOnly {
        /// Entries that were listed.
        shown: u64,
    },
    /// A file in another compressed format than gzip.
    Compressed {
        /// The program that unpacks it.
        with: &'static str,
    },
    /// Text in UTF-16, as Windows programs write it.
    Utf16,
    /// Bytes that are no text.
    Binary,
    /// Entries whose lines were wrapped, as mail programs do.
    Wrapped,
    /// Entries whose lines were all cut off.
    Cut,
    /// Entries whose addresses or ports were all replaced.
    Redacted,
    /// The output of a program that is no list of entries.
    Output {
        /// The output, in words.
        of: &'static str,
    },
    /// An error message.
    Message {
        /// Its beginning, cleaned.
        text: String,
    },
    /// Any other text.
    Text {
        /// Its beginning, cleaned.
        text: String,
    },
}

impl fmt::Display for Foreign {
    /// A verb and the rest, to follow the name of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Missing => "does not exist",
            Self::Denied => "cannot be read: permission denied",
            Self::Socket => "is a socket or an absent device",
            Self::Directory => "is a directory",
            Self::BlockDevice => "is a block device",
            Self::Closed => "is closed, or /dev/null",
            Self::Empty => "is empty, which is no table",
            Self::SummaryOnly { shown } => {
                return write!(
                    f,
                    "holds none of the {shown} entries that conntrack listed, only its summary"
                );
            }
            Self::Compressed { with } => return write!(f, "is compressed, unpack it with {with}"),
            Self::Utf16 => "is text in UTF-16, convert it with iconv -f UTF-16 -t UTF-8",
            Self::Binary => "holds bytes that are no text",
            Self::Wrapped => "holds entries whose lines were wrapped, as mail programs do",
            Self::Cut => "holds entries whose lines were all cut off",
            Self::Redacted => "holds entries whose addresses or ports were all removed",
            Self::Output { of } => return write!(f, "holds {of}, not a list of entries"),
            Self::Message { text } => return write!(f, "holds an error message: {text}"),
            Self::Text { text } => return write!(f, "holds other text: {text}"),
        };
        f.write_str(words)
    }
}
