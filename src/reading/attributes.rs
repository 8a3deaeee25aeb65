//! Netlink attributes: one after the other, or all at once where they stand as they stood in an earlier message.
//!
//! Lengths and types are in the byte order of this machine (netlink(7), struct nlattr in include/uapi/linux/netlink.h).

use std::array;
use std::ops::Range;

use netlink_packet_core::{NLA_ALIGNTO, NLA_HEADER_SIZE, NLA_TYPE_MASK};

/// The attributes of a message or of a nesting attribute: type without the flag bits, and value. An attribute that
/// does not fit is the last, and none.
///
/// Of our own because netlink_packet_core's iterator, with its text in every error, doubles the cost of an entry:
/// 310 ns instead of 155 ns, of the 1.8 us the kernel needs for it.
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Type and value of the first, and what stands behind it.
    fn split(bytes: &'a [u8]) -> Option<(u16, &'a [u8], &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let kind = u16::from_ne_bytes(*rest.first_chunk()?) & NLA_TYPE_MASK;
        let value = bytes.get(NLA_HEADER_SIZE..length)?;
        // the last one may come without its padding
        let rest = bytes.get(length.next_multiple_of(NLA_ALIGNTO)..);
        Some((kind, value, rest.unwrap_or_default()))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((kind, value, rest)) = Self::split(self.0) else {
            self.0 = &[];
            return Some(None);
        };
        self.0 = rest;
        Some(Some((kind, value)))
    }
}

/// What an attribute of a known type holds.
pub(super) enum Part {
    /// A field: its number, and how many bytes its value has at least.
    Field(usize, usize),
    /// More attributes, and what is added to the numbers of their fields.
    Nest(Parts, usize),
}

/// The types of use among the attributes of a message or of a nesting one.
pub(super) type Parts = &'static [(u16, Part)];

/// No message is that long.
const NOWHERE: usize = usize::MAX;

/// How a message is laid out: which bytes are the headers of its attributes, and where the fields stand.
///
/// The way from attribute to attribute depends on their headers alone. So in another message of the same length that
/// has the same headers in the same places the fields stand where they stood, and comparing all headers at once costs a
/// fifth of going that way.
#[derive(Debug)]
pub(super) struct Layout<const FIELDS: usize> {
    /// The headers, and zeros between them.
    headers: Vec<u8>,
    /// All ones where a header stands.
    mask: Vec<u8>,
    fields: [usize; FIELDS],
}

impl<const FIELDS: usize> Layout<FIELDS> {
    /// Goes through the attributes behind the first `start` bytes of a message. None where one does not fit into its
    /// surroundings or is too short for its field. Of two of a type the last one counts.
    fn of(message: &[u8], start: usize, parts: Parts) -> Option<Self> {
        let mut layout = Self {
            headers: vec![0; message.len()],
            mask: vec![0; message.len()],
            fields: [NOWHERE; FIELDS],
        };
        layout.walk(message, start..message.len(), parts, 0)?;
        Some(layout)
    }

    fn walk(
        &mut self,
        message: &[u8],
        within: Range<usize>,
        parts: Parts,
        base: usize,
    ) -> Option<()> {
        let mut at = within.start;
        let mut rest = message.get(within)?;
        while !rest.is_empty() {
            let (kind, value, next) = Attributes::split(rest)?;
            let header = at..at + NLA_HEADER_SIZE;
            self.mask.get_mut(header.clone())?.fill(u8::MAX);
            let bytes = message.get(header.clone())?;
            self.headers.get_mut(header.clone())?.copy_from_slice(bytes);
            match parts.iter().find(|(known, _)| *known == kind) {
                Some((_, Part::Field(field, length))) => {
                    if value.len() < *length {
                        return None;
                    }
                    *self.fields.get_mut(base + field)? = header.end;
                }
                Some((_, Part::Nest(parts, nested))) => {
                    let value = header.end..header.end + value.len();
                    self.walk(message, value, parts, base + nested)?;
                }
                None => {}
            }
            at += rest.len() - next.len();
            rest = next;
        }
        Some(())
    }

    /// Whether a message has the same attributes in the same places.
    fn fits(&self, message: &[u8]) -> bool {
        // sixteen bytes at a time are a few instructions
        let differ = |(a, (b, mask)): (&u8, (&u8, &u8))| (a ^ b) & mask;
        message.len() == self.mask.len()
            && message
                .iter()
                .zip(self.headers.iter().zip(&self.mask))
                .map(differ)
                .fold(0, |all, one| all | one)
                == 0
    }

    /// The first bytes of a field; none where the message has no such attribute.
    pub(super) fn field<const N: usize>(&self, message: &[u8], field: usize) -> Option<[u8; N]> {
        let at = *self.fields.get(field)?;
        message.get(at..)?.first_chunk().copied()
    }
}

/// How many layouts are remembered. A table has one for each protocol of each family, and some more with accounting,
/// helpers, labels.
const REMEMBERED: usize = 8;

/// The layouts of the messages of a dump, of which there are a handful.
#[derive(Debug)]
pub(super) struct Layouts<const FIELDS: usize> {
    known: [Option<Layout<FIELDS>>; REMEMBERED],
    /// The one to be forgotten next.
    next: usize,
}

impl<const FIELDS: usize> Default for Layouts<FIELDS> {
    fn default() -> Self {
        Self {
            known: array::from_fn(|_| None),
            next: 0,
        }
    }
}

impl<const FIELDS: usize> Layouts<FIELDS> {
    /// The layout of a message, whose attributes stand behind its first `start` bytes; none where it is malformed.
    /// `start` and `parts` are always the same.
    pub(super) fn of(
        &mut self,
        message: &[u8],
        start: usize,
        parts: Parts,
    ) -> Option<&Layout<FIELDS>> {
        let fits = |known: &Option<Layout<FIELDS>>| {
            known.as_ref().is_some_and(|known| known.fits(message))
        };
        let place = match self.known.iter().position(fits) {
            Some(place) => place,
            None => {
                let place = self.next;
                *self.known.get_mut(place)? = Some(Layout::of(message, start, parts)?);
                self.next = (place + 1) % REMEMBERED;
                place
            }
        };
        self.known.get(place)?.as_ref()
    }
}
