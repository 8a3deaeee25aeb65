//! Entries as text: lines of /proc/net/nf_conntrack and of `conntrack -L`.
//!
//! The kernel prints a line in `ct_seq_show` (net/netfilter/nf_conntrack_standalone.c), conntrack-tools in
//! `__snprintf_conntrack_default` (libnetfilter_conntrack, src/conntrack/snprintf_default.c), in the same order.
//! Kernels of router vendors add words after the reply tuple. The grammar:
//!
//! ```text
//! line      = [ family ] protocol number [ timeout ] [ private ] tuple { between } tuple { after }
//! family    = "ipv4" "2" | "ipv6" "10"
//! protocol  = "icmp" "1" | "tcp" "6" | "udp" "17" | "dccp" "33" | "gre" "47" | "icmpv6" "58" | "sctp" "132"
//!           | "udplite" "136" | another name of [a-z0-9-] that begins with a letter, and any number up to 255
//! timeout   = [ "-" ] digits
//! private   = TCP: one state; others: up to two words that do not begin with "src="
//! tuple     = "src=" address "dst=" address [ "sport=" port "dport=" port ]
//! between   = "[UNREPLIED]" | attribute, but no "dst="
//! after     = attribute | any other word, but none that begins with "src=" or "dst="
//! attribute = key "=" [ value ]              key: a letter, then [A-Za-z0-9_.-]
//! ```
//!
//! - Words are separated by blanks. A number has one to nine digits.
//! - Ports belong to TCP and UDP, where they are required, and to DCCP, SCTP and UDP-Lite. Other protocols print
//!   attributes instead (`type=`, `srckey=`).
//! - All four addresses, and the family if there is one, agree. An IPv4 address that is written as one of IPv6
//!   (`::ffff:192.0.2.1`) agrees with either.
//! - The state of TCP is missing if the connection is offloaded.
//! - `[ASSURED]`, `[OFFLOAD]` and `[HW_OFFLOAD]` count after the reply tuple, up to the first word that begins with
//!   `secctx=`, `[start=` or `labels=`, whose text may hold anything.
//! - The line is whole if an attribute follows the reply tuple that belongs neither to the tuple nor to the counters
//!   before the flags (`packets`, `bytes`, `zone-orig`, `zone-reply`, `type`, `code`, `id`, `srckey`, `dstkey`):
//!   `use=`, which every kernel prints last, or one of a vendor that does not. Everything that is read from a line
//!   stands before that attribute, so a line that was cut is either refused or says the same as the whole line.
//! - A line that is not valid UTF-8 is no entry.
//! - A line with control characters or other bytes than ASCII, and a line that is not an entry as it stands, is
//!   restored first: what terminals, editors and mail programs add is taken away. In this order:
//!   1. a byte order mark at its beginning;
//!   2. control sequences: ESC `[` and all bytes up to the first of `@` to `~`;
//!   3. every other control character (tabs too) and every non-breaking blank becomes a blank; blanks at both ends go;
//!   4. up to six prefixes with the blanks after them: `>`; the first word up to its last `:`, if it has one and has no
//!      `=`; the first word, if it is a number and another word follows (`cat -n`, `grep -nH`, quoted mail).
//! - `conntrack v` ... ` N flow entries have been shown.` is the summary of `conntrack -L`. Text before it in its line
//!   is the first half of an entry, and the next line is the other half ([`super::reader`]).

use super::unread::{reason, restored};
use super::words::{Families, Words, is_number, key, number, parse_address};
use crate::model::conntrack::{Entry, Protocol, TcpState, Tuple};
use crate::model::dump::Unread;

/// The words of a protocol's private part, at most: gre's `timeout=30, stream_timeout=180`.
const PRIVATE_WORDS: usize = 2;

/// The attributes that may stand between the reply tuple's ports and the flags: the rest of the tuple of ICMP and GRE,
/// the zone, and the counters.
const BEFORE_FLAGS: [&[u8]; 9] = [
    b"packets",
    b"bytes",
    b"zone-reply",
    b"type",
    b"code",
    b"id",
    b"srckey",
    b"dstkey",
    b"zone-orig",
];

/// The content of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// An entry.
    Entry(Entry),
    /// Nothing.
    Blank,
    /// The summary that `conntrack -L` prints on stderr: how many entries it listed.
    Shown(u64),
    /// Something else, or part of an entry.
    Unread(Unread),
}

/// Parses one line, with or without its end.
pub fn parse_line(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.ends_with(SUMMARY_END) {
        return match summary(line) {
            Some(([], shown)) => Line::Shown(shown),
            Some(_) => Line::Unread(Unread::Cut),
            None => Line::Unread(Unread::Foreign),
        };
    }
    // control characters end the words too early, so a line that has any is no entry yet
    if line.is_ascii() {
        if let Some(entry) = parse_entry(Words(line)) {
            return Line::Entry(entry);
        }
    }
    parse_restored(line)
}

/// Parses a line that is no entry as it stands.
#[cold]
fn parse_restored(line: &[u8]) -> Line {
    if line.is_empty() {
        return Line::Blank;
    }
    if std::str::from_utf8(line).is_err() {
        return Line::Unread(Unread::Foreign);
    }
    let line = restored(line);
    match parse_entry(Words(&line)) {
        Some(entry) => Line::Entry(entry),
        None if line.is_empty() => Line::Blank,
        None => Line::Unread(reason(&line)),
    }
}

const SUMMARY_START: &[u8] = b"conntrack v";
const SUMMARY_END: &[u8] = b" flow entries have been shown.";

/// The text before `conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.` in a line that ends so, and
/// the number in it. If both outputs of conntrack go to one file the text may be half an entry: stderr is written at
/// once, stdout when its buffer is full or at the end.
pub(super) fn summary(line: &[u8]) -> Option<(&[u8], u64)> {
    let text = line.strip_suffix(SUMMARY_END)?;
    let start = text
        .windows(SUMMARY_START.len())
        .rposition(|window| window == SUMMARY_START)?;
    let (before, summary) = text.split_at_checked(start)?;
    let shown = summary.rsplit(|byte| *byte == b' ').next()?;
    if !is_number(shown) {
        return None;
    }
    let shown = std::str::from_utf8(shown).ok()?;
    Some((before, shown.parse().ok()?))
}

fn parse_entry(mut words: Words) -> Option<Entry> {
    let (protocol, family) = parse_protocol(&mut words)?;
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
    let (answer, replied) = parse_between(&mut words)?;
    let (reply, answered) = parse_tuple(protocol, answer, &mut words, Some((original, texts)))?;
    texts.families.and(answered.families)?.and(family)?;
    let status = parse_after(words)?;
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

/// The first columns: the family, if there is one, then the protocol's name and number, which fit together.
fn parse_protocol(words: &mut Words) -> Option<(Protocol, Families)> {
    let mut name = words.next()?;
    let family: Option<(&[u8], Families)> = match name {
        b"ipv4" => Some((b"2", Families::V4)),
        b"ipv6" => Some((b"10", Families::V6)),
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
        None => is_protocol_name(name),
    };
    plausible.then_some((
        protocol,
        family.map_or(Families::BOTH, |(_, family)| family),
    ))
}

/// True if the word may be the name of a protocol.
pub(super) fn is_protocol_name(word: &[u8]) -> bool {
    let is_of_name =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    word.first().is_some_and(u8::is_ascii_lowercase) && word.iter().all(is_of_name)
}

/// The addresses of a tuple as they are written.
#[derive(Clone, Copy)]
struct Texts<'a> {
    source: &'a [u8],
    destination: &'a [u8],
    families: Families,
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
    let (source, family) = match original {
        Some((original, known)) if known.destination == from => {
            (original.destination, known.families)
        }
        _ => parse_address(from)?,
    };
    let (destination, other) = match original {
        Some((original, known)) if known.source == to => (original.source, known.families),
        _ => parse_address(to)?,
    };
    let texts = Texts {
        source: from,
        destination: to,
        families: family.and(other)?,
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

/// The words between the tuples: the `src=` word of the reply tuple, and whether a packet of its direction was seen.
fn parse_between<'a>(words: &mut Words<'a>) -> Option<(&'a [u8], bool)> {
    let mut replied = true;
    loop {
        match words.next()? {
            word if word.starts_with(b"src=") => return Some((word, replied)),
            b"[UNREPLIED]" => replied = false,
            word if word.starts_with(b"dst=") => return None,
            word if key(word).is_some() => {}
            // it may be a damaged [UNREPLIED]
            _ => return None,
        }
    }
}

#[derive(Default)]
struct Status {
    assured: bool,
    offloaded: bool,
}

/// The words after the reply tuple; nothing if the line was cut before its flags were complete, or if another line
/// follows without a line break.
fn parse_after(mut words: Words) -> Option<Status> {
    let mut status = Status::default();
    let (mut whole, mut free) = (false, false);
    for word in words.by_ref() {
        match word {
            b"[ASSURED]" => status.assured |= !free,
            b"[OFFLOAD]" | b"[HW_OFFLOAD]" => status.offloaded |= !free,
            [b'[', ..] => free |= word.starts_with(b"[start="),
            [b's' | b'd' | b'l', ..] => {
                if is_address_word(word) {
                    return None;
                }
                free |= word.starts_with(b"secctx=") || word.starts_with(b"labels=");
                whole |= is_after_flags(word);
            }
            // these two stand in nearly every line
            _ if word.starts_with(b"mark=") || word.starts_with(b"use=") => whole = true,
            _ => whole = whole || is_after_flags(word),
        }
    }
    (whole && words.0.is_empty()).then_some(status)
}

/// True if the word belongs to the addresses of a tuple.
pub(super) fn is_address_word(word: &[u8]) -> bool {
    word.starts_with(b"src=") || word.starts_with(b"dst=")
}

/// True if the word is an attribute that is printed after the flags.
pub(super) fn is_after_flags(word: &[u8]) -> bool {
    key(word).is_some_and(|key| !BEFORE_FLAGS.contains(&key))
}
