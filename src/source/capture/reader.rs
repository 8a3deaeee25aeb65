//! Lines out of what a file or a pipe gives: a sample of their entries, until a deadline, in bounded memory.

use std::io::{BufRead, ErrorKind, Read};
use std::time::Instant;

use super::foreign::of_line;
use super::line::{Line, parse_line, summary};
use crate::model::conntrack::Entry;
use crate::model::dump::{DumpEnd, DumpSummary, Extent, Source, Unread, UnreadLines};
use crate::model::error::{FileError, ReadError};
use crate::model::foreign::Foreign;
use crate::model::text::clean;
use crate::source::procfs::ct_table::PROCFS;

/// The longest line that is read; the kernel's are below 500 bytes unless a security module has much to say.
pub const LONGEST_LINE: usize = 4096;

/// Read at once. More than a line, so that one that was not finished and what follows it fit.
const CHUNK: usize = 64 << 10;

/// The result of reading lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLines {
    /// The result of the reading. Unless the time was up or reading failed, `seen` is the number of entries in a
    /// capture.
    pub listing: DumpSummary,
    /// Lines with nothing in them but blanks or the summary of `conntrack -L`.
    pub blank: u64,
    /// The first line that is neither an entry nor a part of one.
    pub foreign: Option<Foreign>,
}

impl ReadLines {
    /// The content of a capture without a single entry; nothing if it is the list of an empty table.
    pub fn holds_instead(&self) -> Option<Foreign> {
        let DumpSummary { unread, shown, .. } = &self.listing;
        if self.listing.seen > 0 || (self.listing.broken == 0 && *shown == Some(0)) {
            return None;
        }
        let parts = unread.of(Unread::Cut) + unread.of(Unread::Wrapped);
        let most = |lines: u64| lines * 2 > self.listing.broken;
        Some(match (&self.foreign, shown) {
            _ if unread.of(Unread::Wrapped) > 0 && most(parts) => Foreign::Wrapped,
            _ if most(unread.of(Unread::Cut)) => Foreign::Cut,
            _ if most(unread.of(Unread::Redacted)) => Foreign::Redacted,
            (Some(foreign), _) => foreign.clone(),
            (None, Some(shown)) if self.listing.broken == 0 => {
                Foreign::SummaryOnly { shown: *shown }
            }
            (None, _) if self.listing.broken == 0 => Foreign::Empty,
            (None, _) => Foreign::Cut,
        })
    }
}

/// Reads lines and hands on each entry to this extent. A capture is always counted to its end. Between two reads the deadline is looked at; a read that may take long has to look at it
/// itself, as [`super::open::Capture`] does with an error of the kind `TimedOut`.
///
/// Memory does not depend on what comes: a line longer than [`LONGEST_LINE`] is broken and skipped to its end.
pub fn read(
    mut source: impl Read,
    which: Source,
    extent: impl Into<Extent>,
    deadline: Instant,
    each: impl FnMut(&Entry),
) -> ReadLines {
    let Extent { sample, count_on } = extent.into();
    let mut reader = Reader {
        each,
        sample: if sample == 0 { u64::MAX } else { sample },
        count_on: count_on || which == Source::Capture,
        half: Vec::new(),
        read: 0,
        entries: 0,
        blank: 0,
        unread: UnreadLines::default(),
        broken: 0,
        shown: None,
        foreign: None,
    };
    let end = reader.read(&mut source, which, deadline);
    ReadLines {
        listing: DumpSummary {
            seen: reader.entries,
            counted: count_on && end == DumpEnd::Sampled,
            broken: reader.broken,
            unread: reader.unread,
            shown: reader.shown,
            ..DumpSummary::new(which, reader.read, end)
        },
        blank: reader.blank,
        foreign: reader.foreign,
    }
}

/// More entries than wanted: no need to read on.
struct Enough;

struct Reader<F> {
    each: F,
    sample: u64,
    /// True if entries beyond the sample are counted.
    count_on: bool,
    /// The half of an entry that stood before conntrack's summary; the line after it is the other half.
    half: Vec<u8>,
    read: u64,
    entries: u64,
    blank: u64,
    unread: UnreadLines,
    broken: u64,
    /// The sum of the summaries.
    shown: Option<u64>,
    foreign: Option<Foreign>,
}

impl<F: FnMut(&Entry)> Reader<F> {
    fn read(&mut self, source: &mut impl Read, which: Source, deadline: Instant) -> DumpEnd {
        let mut buffer = vec![0_u8; CHUNK];
        // an unfinished line stands at the beginning of the buffer
        let mut unfinished = 0;
        let mut skipping = false;
        loop {
            if Instant::now() >= deadline {
                return DumpEnd::TimeUp;
            }
            let new = match source.read(buffer.get_mut(unfinished..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(new) => new,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::TimedOut => return DumpEnd::TimeUp,
                Err(error) => return DumpEnd::Failed(self.failed(which, &error)),
            };
            let filled = (unfinished + new).min(buffer.len());
            unfinished = 0;
            let mut rest = buffer.get(..filled).unwrap_or_default();
            while !rest.is_empty() {
                // std's memchr, which split_inclusive does not use
                let length = { rest }.skip_until(b'\n').unwrap_or_default();
                let (line, after) = rest.split_at_checked(length).unwrap_or_default();
                rest = after;
                let whole = line.strip_suffix(b"\n");
                if skipping {
                    skipping = whole.is_none();
                } else if whole.unwrap_or(line).len() > LONGEST_LINE {
                    self.too_long(whole.unwrap_or(line));
                    skipping = whole.is_none();
                } else if let Some(line) = whole {
                    if self.line(line).is_err() {
                        return DumpEnd::Sampled;
                    }
                } else {
                    unfinished = line.len();
                }
            }
            buffer.copy_within(filled - unfinished..filled, 0);
        }
        let last = buffer.get(..unfinished).unwrap_or_default();
        if !last.is_empty() && self.line(last).is_err() {
            return DumpEnd::Sampled;
        }
        if !self.half.is_empty() {
            self.unread(Unread::Cut);
        }
        if self.entries > self.read {
            DumpEnd::Sampled
        } else {
            DumpEnd::Whole
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Enough> {
        if self.half.is_empty() {
            return self.whole_line(line);
        }
        // the summary's line had nothing but the summary then
        self.blank += 1;
        let mut both = std::mem::take(&mut self.half);
        both.extend_from_slice(line);
        self.whole_line(&both)
    }

    fn too_long(&mut self, line: &[u8]) {
        self.foreign(line);
        if !self.half.is_empty() {
            // its other half is not to be had
            self.half.clear();
            self.unread(Unread::Cut);
        }
    }

    fn unread(&mut self, kind: Unread) {
        self.unread.add(kind);
        self.broken += 1;
    }

    fn foreign(&mut self, line: &[u8]) {
        self.unread(Unread::Foreign);
        if self.foreign.is_none() {
            self.foreign = Some(of_line(line));
        }
    }

    fn failed(&self, which: Source, error: &std::io::Error) -> ReadError {
        let reason = clean(&error.to_string());
        match which {
            Source::Capture => ReadError::CaptureBroken {
                read: self.entries,
                reason,
            },
            _ => ReadError::file(PROCFS.to_owned(), FileError::Io { reason }),
        }
    }

    /// The summary of `conntrack -L`; one for each time it ran.
    fn shown(&mut self, entries: u64) {
        let before = self.shown.unwrap_or_default();
        self.shown = Some(before.saturating_add(entries));
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), Enough> {
        match parse_line(line) {
            Line::Entry(entry) => {
                if self.read < self.sample {
                    (self.each)(&entry);
                    self.read += 1;
                } else if !self.count_on {
                    return Err(Enough);
                }
                self.entries += 1;
            }
            Line::Blank => self.blank += 1,
            Line::Shown(entries) => {
                self.blank += 1;
                self.shown(entries);
            }
            Line::Unread(kind) => match (summary(line.trim_ascii_end()), kind) {
                (Some((half, shown)), _) => {
                    self.half = half.to_vec();
                    self.shown(shown);
                }
                (None, Unread::Foreign) => self.foreign(line),
                (None, kind) => self.unread(kind),
            },
        }
        Ok(())
    }
}
