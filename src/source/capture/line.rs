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

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use crate::model::address::Address;
use crate::model::conntrack::{Entry, Protocol, TcpState, Tuple};

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
pub(super) fn before_summary(line: &[u8]) -> Option<&[u8]> {
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
    let mut timeout = None;
    if is_number(word.strip_prefix(b"-").unwrap_or(word)) {
        if protocol == Protocol::UDP {
            timeout = number(word).map(|left| u16::try_from(left).unwrap_or(u16::MAX));
        }
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
        timeout,
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

pub(in crate::source) fn is_number(word: &[u8]) -> bool {
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
