//! Lines that are no entries as they stand: what was added to them, and what became of those that stay unread.

use super::line::{is_address_word, is_after_flags, is_protocol_name};
use super::words::{is_address, is_number, key, number};
use crate::model::dump::Unread;

/// The mark that editors put at the beginning of a file (U+FEFF).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The blank that web pages and mail programs use (U+00A0).
const NO_BREAK_SPACE: &[u8] = b"\xc2\xa0";
/// A terminal's control sequence begins so, for example a colour (ECMA-48).
const CONTROL_SEQUENCE: &[u8] = b"\x1b[";

/// More prefixes than people put in front of a line.
const PREFIXES: usize = 6;
/// As many columns stand before the first tuple: family, protocol, timeout, private part.
const COLUMNS: usize = 7;

/// The line without what terminals, editors and mail programs add to it.
pub(super) fn restored(line: &[u8]) -> Vec<u8> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let printed = printed(line);
    without_prefixes(printed.trim_ascii()).to_vec()
}

/// The line without control sequences, and with a blank for each control character and non-breaking blank.
fn printed(line: &[u8]) -> Vec<u8> {
    let mut printed = Vec::with_capacity(line.len());
    let mut rest = line;
    loop {
        if let Some(sequence) = rest.strip_prefix(CONTROL_SEQUENCE) {
            let last = |byte: &u8| (0x40..=0x7e).contains(byte);
            let length = sequence.iter().position(last).unwrap_or(sequence.len());
            rest = sequence.get(length + 1..).unwrap_or_default();
        } else if let Some(after) = rest.strip_prefix(NO_BREAK_SPACE) {
            printed.push(b' ');
            rest = after;
        } else if let Some((byte, after)) = rest.split_first() {
            printed.push((*byte).max(b' '));
            rest = after;
        } else {
            return printed;
        }
    }
}

/// The line after quote marks, line numbers and the names of files: `> `, `12:`, `   12  `,
/// `/proc/net/nf_conntrack:12:`.
fn without_prefixes(line: &[u8]) -> &[u8] {
    let mut line = line;
    for _ in 0..PREFIXES {
        let after = match line.strip_prefix(b">") {
            Some(after) => Some(after),
            None => after_number_or_name(line),
        };
        let Some(after) = after else { break };
        line = after.trim_ascii_start();
    }
    line
}

fn after_number_or_name(line: &[u8]) -> Option<&[u8]> {
    let word = line.split(|byte| *byte == b' ').next()?;
    let length = match word.iter().rposition(|byte| *byte == b':') {
        // the value of an attribute may have a colon too
        Some(colon) if !word.contains(&b'=') => colon + 1,
        // a number alone is a number
        None if is_number(word) && word.len() < line.len() => word.len(),
        _ => return None,
    };
    line.get(length..)
}

/// Tells what became of a line that is no entry.
pub(super) fn reason(line: &[u8]) -> Unread {
    let words: Vec<&[u8]> = line
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .collect();
    let tuples = words
        .iter()
        .filter(|word| word.starts_with(b"src="))
        .count();
    if !begins_as_entry(&words) {
        let of_entry = words.first().is_some_and(|first| is_of_entry(first));
        return if of_entry {
            Unread::Wrapped
        } else {
            Unread::Foreign
        };
    }
    let addresses = words.iter().filter(|word| is_address_word(word)).count();
    if addresses > 4 {
        return Unread::Glued;
    }
    // the last word of a line may be half a word
    let complete = words.split_last().map_or(&[][..], |(_, before)| before);
    if complete.iter().any(|word| is_redacted(word)) {
        return Unread::Redacted;
    }
    let after = words.rsplit(|word| word.starts_with(b"src=")).next();
    let ends = after
        .unwrap_or_default()
        .iter()
        .any(|word| is_after_flags(word) && !is_port_word(word) && !is_address_word(word));
    let is_part = if tuples == 0 {
        words.len() <= COLUMNS
    } else {
        tuples == 1 || !ends
    };
    if is_part {
        Unread::Cut
    } else {
        Unread::Foreign
    }
}

/// True if the line begins with the columns of an entry.
fn begins_as_entry(words: &[&[u8]]) -> bool {
    let words = match words {
        [b"ipv4", b"2", rest @ ..] | [b"ipv6", b"10", rest @ ..] if !rest.is_empty() => rest,
        [b"ipv4"] | [b"ipv4", b"2"] | [b"ipv6"] | [b"ipv6", b"10"] => return true,
        words => words,
    };
    match words {
        [name, protocol, ..] => {
            is_protocol_name(name) && number(protocol).is_some_and(|number| number <= 255)
        }
        _ => false,
    }
}

/// True if the word is one that stands in an entry after its first columns.
fn is_of_entry(word: &[u8]) -> bool {
    const KEYS: [&[u8]; 15] = [
        b"src", b"dst", b"sport", b"dport", b"type", b"code", b"id", b"srckey", b"dstkey",
        b"packets", b"bytes", b"mark", b"secctx", b"zone", b"use",
    ];
    const FLAGS: [&[u8]; 4] = [b"[UNREPLIED]", b"[ASSURED]", b"[OFFLOAD]", b"[HW_OFFLOAD]"];
    FLAGS.contains(&word) || key(word).is_some_and(|key| KEYS.contains(&key))
}

fn is_port_word(word: &[u8]) -> bool {
    word.starts_with(b"sport=") || word.starts_with(b"dport=")
}

/// True if the word is an address or a port that was replaced, as `src=x.x.x.x`, `dst=192.168.1.xxx` or `sport=***`.
fn is_redacted(word: &[u8]) -> bool {
    if is_port_word(word) {
        let port = word.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
        return !is_number(port);
    }
    let Some(address) = word
        .strip_prefix(b"src=")
        .or_else(|| word.strip_prefix(b"dst="))
    else {
        return false;
    };
    let is_of_ipv4 = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let is_of_ipv6 = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let looks_like_one = !address.is_empty()
        && (address.iter().all(is_of_ipv4)
            || (address.contains(&b':') && address.iter().all(is_of_ipv6)));
    !looks_like_one && !is_address(address)
}
