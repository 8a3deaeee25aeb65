//! Recognises what people take for a table: by its first bytes, and by its first line that is no entry.

use crate::model::foreign::Foreign;
use crate::model::text::clean;

/// So many bytes at the beginning of a file tell its format.
pub(super) const MAGIC: usize = 6;
/// The beginning of gzip (RFC 1952).
pub(super) const GZIP: &[u8] = b"\x1f\x8b";

/// The formats of files that are no text, by their first bytes, except gzip.
const FORMATS: [(&[u8], Foreign); 8] = [
    (b"\xfd7zXZ\0", Foreign::Compressed { with: "xz -d" }),
    (b"\x28\xb5\x2f\xfd", Foreign::Compressed { with: "zstd -d" }),
    (b"BZh", Foreign::Compressed { with: "bzip2 -d" }),
    (b"\x04\x22\x4d\x18", Foreign::Compressed { with: "lz4 -d" }),
    (b"PK\x03\x04", Foreign::Compressed { with: "unzip" }),
    (b"7z\xbc\xaf\x27\x1c", Foreign::Compressed { with: "7z x" }),
    (b"\xff\xfe", Foreign::Utf16),
    (b"\xfe\xff", Foreign::Utf16),
];

/// The outputs of programs, by the beginning of a line.
const OUTPUTS: [(&str, &str); 13] = [
    ("<?xml", "XML"),
    ("<conntrack", "XML"),
    ("<flow", "XML"),
    ("<!doctype", "a web page"),
    ("<html", "a web page"),
    ("{", "JSON"),
    ("cpu=", "the counters of conntrack -S"),
    ("entries ", "the counters of the kernel"),
    ("-a -t ", "the output of conntrack -o save"),
    ("netid ", "the sockets of ss or netstat"),
    ("state ", "the sockets of ss or netstat"),
    ("proto ", "the sockets of ss or netstat"),
    ("active ", "the sockets of ss or netstat"),
];

/// The marks of events, which may stand after a time.
const EVENTS: [&str; 3] = ["[new]", "[update]", "[destroy]"];

/// Words that stand in the messages of a shell, of sudo, of cat, of ssh and of conntrack.
const COMPLAINTS: [&str; 11] = [
    "sudo:",
    "denied",
    "not permitted",
    "failed",
    "not found",
    "no such",
    "must be root",
    "cannot",
    "can't",
    "unable",
    "error",
];

/// The format of a file by its first bytes, if it cannot hold lines.
pub(super) fn of_file(beginning: &[u8]) -> Option<Foreign> {
    FORMATS
        .into_iter()
        .find(|(magic, _)| beginning.starts_with(magic))
        .map(|(_, foreign)| foreign)
}

/// The text by one of its lines.
pub(super) fn of_line(line: &[u8]) -> Foreign {
    let line = line.trim_ascii();
    let Some(text) = std::str::from_utf8(line)
        .ok()
        .filter(|_| !line.contains(&0))
    else {
        return Foreign::Binary;
    };
    let lower = text.to_ascii_lowercase();
    let output = OUTPUTS.iter().find(|(start, _)| lower.starts_with(start));
    if let Some((_, of)) = output {
        return Foreign::Output { of };
    }
    if EVENTS.iter().any(|mark| lower.contains(mark)) {
        return Foreign::Output {
            of: "the events of conntrack -E",
        };
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Foreign::Output {
            of: "a number, as conntrack -C prints it",
        };
    }
    if lower.contains(" proto=") && lower.contains(" src=") {
        return Foreign::Output {
            of: "the expectations of conntrack -L expect",
        };
    }
    let text = clean(text);
    if COMPLAINTS.iter().any(|word| lower.contains(word)) {
        Foreign::Message { text }
    } else {
        Foreign::Text { text }
    }
}
