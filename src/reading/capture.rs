//! Entries as text: lines of /proc/net/nf_conntrack and of `conntrack -L`.
//!
//! The kernel prints a line in `ct_seq_show` (net/netfilter/nf_conntrack_standalone.c), conntrack-tools in
//! `__snprintf_conntrack_default` (libnetfilter_conntrack, src/conntrack/snprintf_default.c), in the same order:
//!
//! ```text
//! [ipv4 2] tcp 6 [timeout] [state] tuple [attributes] [[UNREPLIED]] tuple [attributes] [[ASSURED]] [attributes] use=N
//! ```
//!
//! A line without `use=` was cut, and what a cut line lacks cannot be known: it is no entry.

use std::fs::File;
use std::io::{BufRead, ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::file;
use crate::address::Address;
use crate::entry::{End, Entry, Listing, Protocol, Source, TcpState, Tuple};
use crate::error::ReadError;
use crate::text::clean;

/// The longest line that is read; the kernel's are below 500 bytes unless a security module has much to say.
pub const LONGEST_LINE: usize = 4096;

/// The device number of /dev/null (Documentation/admin-guide/devices.txt).
const NULL: u64 = 1 << 8 | 3;

/// Read at once. More than a line, so that one that was not finished and what follows it fit.
const CHUNK: usize = 64 << 10;

/// How many words a protocol's private part has at most: gre's `timeout=30, stream_timeout=180`.
const PRIVATE_WORDS: usize = 2;

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// An entry.
    Entry(Entry),
    /// Nothing, or the summary that `conntrack -L` prints on stderr.
    Blank,
    /// Something else, or part of an entry.
    NotAnEntry,
}

/// Parses one line, with or without its end.
pub fn parse_line(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.is_empty() || before_summary(line).is_some_and(<[u8]>::is_empty) {
        return Line::Blank;
    }
    if !line.is_ascii() && std::str::from_utf8(line).is_err() {
        return Line::NotAnEntry;
    }
    parse_entry(Words(line)).map_or(Line::NotAnEntry, Line::Entry)
}

/// What stands in a line before `conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.`, when it ends
/// so. Where both outputs of conntrack go to one file this may be half an entry: stderr is written at once, stdout when
/// its buffer is full or at the end.
fn before_summary(line: &[u8]) -> Option<&[u8]> {
    const START: &[u8] = b"conntrack v";
    line.strip_suffix(b" flow entries have been shown.")?;
    let start = line
        .windows(START.len())
        .rposition(|window| window == START)?;
    line.get(..start)
}

/// The words of a line that are still to come. The kernel puts one blank after each and pads the first columns.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut text = self.0;
        while let Some(padded) = text.strip_prefix(b" ") {
            text = padded;
        }
        if text.is_empty() {
            return None;
        }
        let (word, rest) = text.split_at_checked(word_length(text))?;
        self.0 = rest;
        Some(word)
    }
}

/// Where the first blank is. Eight bytes at a time, because half of all time goes into this.
fn word_length(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    const BLANKS: u64 = u64::from_le_bytes([b' '; 8]);
    let mut rest = text;
    let mut length = 0;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        // the lowest byte that was a blank is the lowest with its high bit set
        let bytes = u64::from_le_bytes(*eight) ^ BLANKS;
        let blanks = bytes.wrapping_sub(ONES) & !bytes & HIGH;
        if blanks != 0 {
            return length + (blanks.trailing_zeros() / 8) as usize;
        }
        length += 8;
        rest = after;
    }
    let last = rest.iter().position(|byte| *byte == b' ');
    length + last.unwrap_or(rest.len())
}

fn parse_entry(mut words: Words) -> Option<Entry> {
    let mut name = words.next()?;
    let family: Option<(&[u8], bool)> = match name {
        b"ipv4" => Some((b"2", true)),
        b"ipv6" => Some((b"10", false)),
        _ => None,
    };
    if let Some((number, _)) = family {
        if words.next()? != number {
            return None;
        }
        name = words.next()?;
    }
    let protocol = Protocol(number(words.next()?)?.try_into().ok()?);
    let named = Protocol::NAMES
        .iter()
        .find(|(known, _)| known.as_bytes() == name);
    let plausible = match named {
        Some((_, number)) => *number == protocol.0,
        // "unknown", which may be a protocol that this kernel was built without
        None => name.iter().all(u8::is_ascii_lowercase),
    };
    if !plausible {
        return None;
    }

    // the timeout is absent when offloaded, and was negative while an expired entry was still there
    let mut word = words.next()?;
    if is_number(word.strip_prefix(b"-").unwrap_or(word)) {
        word = words.next()?;
    }
    let mut tcp_state = None;
    let mut private = 0;
    while !word.starts_with(b"src=") {
        private += 1;
        if private > PRIVATE_WORDS || tcp_state.is_some() {
            return None;
        }
        if protocol == Protocol::TCP {
            tcp_state = Some(TcpState::from_name(std::str::from_utf8(word).ok()?)?);
        }
        word = words.next()?;
    }
    let (original, texts) = parse_tuple(protocol, word, &mut words, None)?;

    let mut replied = true;
    let answer = loop {
        match words.next()? {
            word if word.starts_with(b"src=") => break word,
            b"[UNREPLIED]" => replied = false,
            word if is_attribute(word) => {}
            _ => return None,
        }
    };
    let (reply, answered) = parse_tuple(protocol, answer, &mut words, Some((original, texts)))?;
    let is_ipv4 = texts.is_ipv4;
    if answered.is_ipv4 != is_ipv4 || family.is_some_and(|(_, ipv4)| ipv4 != is_ipv4) {
        return None;
    }

    let status = parse_rest(words)?;
    Some(Entry {
        protocol,
        original,
        reply,
        tcp_state,
        replied,
        assured: status.assured,
        offloaded: status.offloaded,
    })
}

/// The addresses of a tuple as they are written.
#[derive(Clone, Copy)]
struct Texts<'a> {
    source: &'a [u8],
    destination: &'a [u8],
    /// Their family: a mapped address is one of IPv6.
    is_ipv4: bool,
}

/// A tuple from its `src=` word on, without what the protocols without ports have there. The reply tuple comes after
/// the original, whose addresses it mostly has the other way around: reading them twice would take a fifth of the time.
fn parse_tuple<'a>(
    protocol: Protocol,
    source: &'a [u8],
    words: &mut Words<'a>,
    original: Option<(Tuple, Texts)>,
) -> Option<(Tuple, Texts<'a>)> {
    let from = source.strip_prefix(b"src=")?;
    let to = words.next()?.strip_prefix(b"dst=")?;
    let (source, is_ipv4) = match original {
        Some((original, known)) if known.destination == from => {
            (original.destination, known.is_ipv4)
        }
        _ => parse_address(from)?,
    };
    let (destination, is_too) = match original {
        Some((original, known)) if known.source == to => (original.source, known.is_ipv4),
        _ => parse_address(to)?,
    };
    if is_ipv4 != is_too {
        return None;
    }
    let texts = Texts {
        source: from,
        destination: to,
        is_ipv4,
    };
    let mut tuple = Tuple {
        source,
        destination,
        source_port: 0,
        destination_port: 0,
    };
    if protocol.has_ports() {
        let mut ahead = *words;
        if let Some(port) = ahead.next()?.strip_prefix(b"sport=") {
            tuple.source_port = number(port)?.try_into().ok()?;
            let port = ahead.next()?.strip_prefix(b"dport=")?;
            tuple.destination_port = number(port)?.try_into().ok()?;
            *words = ahead;
        } else if matches!(protocol, Protocol::TCP | Protocol::UDP) {
            // every kernel knows the ports of these two
            return None;
        }
    }
    Some((tuple, texts))
}

/// An address, and whether it is written as one of IPv4.
fn parse_address(word: &[u8]) -> Option<(Address, bool)> {
    if let Some(address) = parse_ipv4(word) {
        return Some((address.into(), true));
    }
    let address: Ipv6Addr = std::str::from_utf8(word).ok()?.parse().ok()?;
    Some((address.into(), false))
}

/// As std does, which takes twice as long.
fn parse_ipv4(word: &[u8]) -> Option<Ipv4Addr> {
    let mut address = 0_u32;
    let mut part = 0_u32;
    let mut started = false;
    let mut dots = 0_u8;
    for byte in word {
        match byte {
            // a leading zero is octal to some
            b'0'..=b'9' if part > 0 || !started => {
                part = part * 10 + u32::from(byte - b'0');
                started = true;
                if part > 255 {
                    return None;
                }
            }
            b'.' if started && dots < 3 => {
                address = address << 8 | part;
                (part, started) = (0, false);
                dots += 1;
            }
            _ => return None,
        }
    }
    (started && dots == 3).then(|| Ipv4Addr::from(address << 8 | part))
}

#[derive(Default)]
struct Status {
    assured: bool,
    offloaded: bool,
}

/// What follows the reply tuple; nothing when it does not reach to `use=`.
fn parse_rest(mut words: Words) -> Option<Status> {
    let mut status = Status::default();
    loop {
        match words.next()? {
            b"[ASSURED]" => status.assured = true,
            b"[OFFLOAD]" | b"[HW_OFFLOAD]" => status.offloaded = true,
            word if is_use(word) => break,
            // a security module's string, or a date: whatever it holds is not ours
            word if word.starts_with(b"secctx=") || word.starts_with(b"[start=") => {
                return words.any(is_use).then_some(status);
            }
            word if is_attribute(word) => {}
            _ => return None,
        }
    }
    // id= and labels=; a bare word would be the next entry, after a line feed that got lost
    words
        .take_while(|word| !word.starts_with(b"labels="))
        .all(is_attribute)
        .then_some(status)
}

fn is_use(word: &[u8]) -> bool {
    word.strip_prefix(b"use=").is_some_and(is_number)
}

/// Whether the word is a name, `=` and a value.
fn is_attribute(word: &[u8]) -> bool {
    let name = word
        .iter()
        .position(|byte| !byte.is_ascii_lowercase() && *byte != b'-');
    name.is_some_and(|name| name > 0 && word.get(name) == Some(&b'='))
}

fn is_number(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// A number of at most nine digits, without a sign.
fn number(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 9 {
        return None;
    }
    let mut number = 0_u32;
    for byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // nine digits fit
        number = number.wrapping_mul(10).wrapping_add(digit.into());
    }
    Some(number)
}

/// What reading lines came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// How the reading went; `read` counts the entries that were handed on.
    pub listing: Listing,
    /// Entries seen: of a capture those beyond the sample too, so that unless the time was up or reading failed this is
    /// how many it holds.
    pub entries: u64,
    /// Lines with nothing in them.
    pub blank: u64,
}

/// Reads lines and hands on each entry until there are `sample` of them; 0 is all. A capture is then counted to its
/// end, procfs is left alone. Between two reads the deadline is looked at; a read that may take long has to look at it
/// itself, as [`Capture`] does with an error of the kind `TimedOut`.
///
/// Memory does not depend on what comes: a line longer than [`LONGEST_LINE`] is broken and skipped to its end.
pub fn read(
    mut source: impl Read,
    which: Source,
    sample: u64,
    deadline: Instant,
    each: impl FnMut(&Entry),
) -> Lines {
    let mut reader = Reader {
        each,
        sample: if sample == 0 { u64::MAX } else { sample },
        count_on: which == Source::Capture,
        half: Vec::new(),
        read: 0,
        entries: 0,
        blank: 0,
        broken: 0,
    };
    let end = reader.read(&mut source, which, deadline);
    Lines {
        listing: Listing {
            source: which,
            read: reader.read,
            broken: reader.broken,
            end,
            inexact: false,
        },
        entries: reader.entries,
        blank: reader.blank,
    }
}

/// More entries than wanted: no need to read on.
struct Enough;

struct Reader<F> {
    each: F,
    sample: u64,
    /// Whether entries beyond the sample are counted.
    count_on: bool,
    /// The half of an entry that stood before conntrack's summary; the line after it is the other half.
    half: Vec<u8>,
    read: u64,
    entries: u64,
    blank: u64,
    broken: u64,
}

impl<F: FnMut(&Entry)> Reader<F> {
    fn read(&mut self, source: &mut impl Read, which: Source, deadline: Instant) -> End {
        let mut buffer = vec![0_u8; CHUNK];
        // an unfinished line stands at the beginning of the buffer
        let mut unfinished = 0;
        let mut skipping = false;
        loop {
            if Instant::now() >= deadline {
                return End::TimeUp;
            }
            let new = match source.read(buffer.get_mut(unfinished..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(new) => new,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::TimedOut => return End::TimeUp,
                Err(error) => return End::Failed(failed(which, &error)),
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
                    self.too_long();
                    skipping = whole.is_none();
                } else if let Some(line) = whole {
                    if self.line(line).is_err() {
                        return End::Sampled;
                    }
                } else {
                    unfinished = line.len();
                }
            }
            buffer.copy_within(filled - unfinished..filled, 0);
        }
        let last = buffer.get(..unfinished).unwrap_or_default();
        if !last.is_empty() && self.line(last).is_err() {
            return End::Sampled;
        }
        if !self.half.is_empty() {
            self.broken += 1;
        }
        if self.entries > self.read {
            End::Sampled
        } else {
            End::Whole
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

    fn too_long(&mut self) {
        self.broken += 1;
        if !self.half.is_empty() {
            // its other half is not to be had
            self.half.clear();
            self.broken += 1;
        }
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
            Line::NotAnEntry => match before_summary(line.trim_ascii_end()) {
                Some(half) if half.len() <= LONGEST_LINE => self.half = half.to_vec(),
                _ => self.broken += 1,
            },
        }
        Ok(())
    }
}

fn failed(which: Source, error: &std::io::Error) -> ReadError {
    let path = match which {
        Source::Capture => "the capture",
        _ => PROCFS,
    };
    ReadError::Io {
        path: path.to_owned(),
        reason: clean(&error.to_string()),
    }
}

/// A capture to read from. Where it may have to be waited for (a pipe, a terminal), this is done no longer than until
/// the deadline; then reading fails with an error of the kind `TimedOut`.
#[derive(Debug)]
pub struct Capture {
    file: File,
    waits: bool,
    deadline: Instant,
}

/// Opens a capture; `-` is standard input. Does not wait for a fifo's writer.
///
/// # Errors
/// Nothing that can be read stands there, or this user may not.
pub fn open_capture(path: &Path, deadline: Instant) -> Result<Capture, ReadError> {
    let is_stdin = path.as_os_str() == "-";
    let shown = if is_stdin {
        "standard input".to_owned()
    } else {
        file::shown(path)
    };
    let opened = if is_stdin {
        // a descriptor of our own without the buffer of std's
        let stdin = rustix::stdio::stdin().try_clone_to_owned();
        stdin.map(File::from)
    } else {
        file::open(path)
    };
    let metadata = opened.and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = metadata.map_err(|error| not_opened(&shown, path, &error))?;
    let kind = metadata.file_type();
    let problem = if is_stdin && kind.is_char_device() && metadata.rdev() == NULL {
        // what a plugin host gives, and the runtime where it is closed: nobody meant an empty table
        Some("is closed, or /dev/null")
    } else if kind.is_dir() {
        Some("is a directory")
    } else if kind.is_block_device() {
        Some("is a block device")
    } else {
        None
    };
    match problem {
        Some(problem) => Err(ReadError::NoCapture {
            path: shown,
            problem,
        }),
        None => Ok(Capture {
            file,
            waits: !kind.is_file(),
            deadline,
        }),
    }
}

fn not_opened(shown: &str, path: &Path, error: &std::io::Error) -> ReadError {
    let problem = match file::explain(path, error) {
        ReadError::Missing { .. } => "does not exist",
        ReadError::Denied { .. } => "may not be read by this user",
        ReadError::WrongKind { .. } => "is a socket or an absent device",
        other => return other,
    };
    ReadError::NoCapture {
        path: shown.to_owned(),
        problem,
    }
}

impl Capture {
    /// Waits until there is something to read, or the end of it.
    fn wait(&self) -> std::io::Result<()> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let left = Timespec::try_from(left).ok(); // none for centuries, which is as good as for ever
            let mut fds = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Capture {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if self.waits {
                self.wait()?;
            }
            match self.file.read(buffer) {
                // another reader was faster
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.waits => {}
                other => return other,
            }
        }
    }
}

/// Below the proc root; the second name of old kernels, and for compatibility beside the first up to 4.8.
const PROCFS: &str = "net/nf_conntrack";
const PROCFS_OLD: &str = "net/ip_conntrack";

/// Opens the table as text below the proc root.
///
/// # Errors
/// Kernels may be built without it, and only few may read it.
pub fn open_procfs(proc_root: &Path) -> Result<File, ReadError> {
    match open_table(&proc_root.join(PROCFS)) {
        Err(error @ ReadError::NoTable { .. }) => {
            match open_table(&proc_root.join(PROCFS_OLD)) {
                // the name that is looked for today
                Err(ReadError::NoTable { .. }) => Err(error),
                other => other,
            }
        }
        other => other,
    }
}

fn open_table(path: &Path) -> Result<File, ReadError> {
    let file = file::open(path).map_err(|error| match file::explain(path, &error) {
        ReadError::Missing { path } => ReadError::NoTable { path },
        ReadError::Denied { path } => ReadError::TableDenied { path },
        other => other,
    })?;
    match file::odd_kind(path, &file) {
        Some(error) => Err(error),
        None => Ok(file),
    }
}

/// Whether this kernel reads the file in time proportional to its length: from 6.16 on. Before, each read began at the
/// table's start again (`ct_get_idx` in nf_conntrack_standalone.c).
pub fn procfs_is_linear(proc_root: &Path) -> bool {
    file::read(&proc_root.join("sys/kernel/osrelease"), 256)
        .ok()
        .and_then(|release| parse_release(&release))
        .is_some_and(|release| release >= (6, 16))
}

/// The first two numbers of a kernel release: 6.18.44-fc is (6, 18).
fn parse_release(release: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(release).ok()?;
    let mut parts = text.trim_ascii().split('.');
    let major = parts.next().filter(|major| is_number(major.as_bytes()))?;
    // 16-rc1
    let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
