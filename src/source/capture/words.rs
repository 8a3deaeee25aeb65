//! The words of a line, and what stands in one word: addresses, numbers, keys.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::address::Address;

/// The words of a line that are still to come. The kernel puts one blank after each and pads the first columns.
///
/// The words end early at a control character, a tab among them, and something is left then.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut text = self.0;
        while let Some(padded) = text.strip_prefix(b" ") {
            text = padded;
        }
        let (word, rest) = text.split_at_checked(word_length(text))?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// The place of the first blank or control character. Eight bytes at a time, because half of all time goes into this.
fn word_length(text: &[u8]) -> usize {
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    const PRINTED: u64 = u64::from_le_bytes([b' ' + 1; 8]);
    let mut rest = text;
    let mut length = 0;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        // the lowest byte that is no more than a blank is the lowest with its high bit set
        let bytes = u64::from_le_bytes(*eight);
        let blanks = bytes.wrapping_sub(PRINTED) & !bytes & HIGH;
        if blanks != 0 {
            return length + (blanks.trailing_zeros() / 8) as usize;
        }
        length += 8;
        rest = after;
    }
    let last = rest.iter().position(|byte| *byte <= b' ');
    length + last.unwrap_or(rest.len())
}

/// The families that an address fits, as bits: addresses agree if a bit is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Families(u8);

impl Families {
    pub(super) const V4: Self = Self(1);
    pub(super) const V6: Self = Self(2);
    pub(super) const BOTH: Self = Self(3);

    /// The families that both fit; none if the two contradict each other.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        let both = self.0 & other.0;
        (both != 0).then_some(Self(both))
    }
}

/// An address, and the families that its text fits.
pub(super) fn parse_address(word: &[u8]) -> Option<(Address, Families)> {
    if let Some(address) = parse_ipv4(word) {
        return Some((address.into(), Families::V4));
    }
    let address: Ipv6Addr = std::str::from_utf8(word).ok()?.parse().ok()?;
    let address = Address::from(address);
    let families = if address.is_ipv4() {
        Families::BOTH
    } else {
        Families::V6
    };
    Some((address, families))
}

/// True if the text is an address.
pub(super) fn is_address(word: &[u8]) -> bool {
    parse_address(word).is_some()
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

/// The key of an attribute.
pub(super) fn key(word: &[u8]) -> Option<&[u8]> {
    let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let length = word.iter().position(|byte| !is_of_key(byte))?;
    let (key, value) = word.split_at_checked(length)?;
    let begins = key.first().is_some_and(u8::is_ascii_alphabetic);
    (begins && value.starts_with(b"=")).then_some(key)
}

/// True if the word is digits.
pub(in crate::source) fn is_number(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// A number of at most nine digits, without a sign.
pub(super) fn number(word: &[u8]) -> Option<u32> {
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
