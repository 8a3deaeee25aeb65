//! Netlink attributes, found where they stood in an earlier message.
//!
//! Lengths and types are in the byte order of this machine (netlink(7), struct nlattr in include/uapi/linux/netlink.h).

use std::array;
use std::net::IpAddr;

use netlink_packet_core::{NLA_ALIGNTO, NLA_HEADER_SIZE, NlasIterator};

/// The numbers of the address families (include/linux/socket.h).
pub(super) const AF_INET: u8 = 2;
/// See [`AF_INET`].
pub(super) const AF_INET6: u8 = 10;

/// The address at the beginning of these bytes; none of another family, or if they are too few.
pub(super) fn ip_address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        AF_INET6 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

/// The content of an attribute of a known type.
pub(super) enum Part {
    /// A field: its number, and how many bytes its value has at least.
    Field(usize, usize),
    /// More attributes, and what is added to the numbers of their fields.
    Nest(Parts, usize),
}

/// The types of use among the attributes of a message or of a nesting one.
pub(super) type Parts = &'static [(u16, Part)];

/// No message is that long.
const NOWHERE: u32 = u32::MAX;

/// The layout of a message: the bytes that are the headers of its attributes, and where the fields stand.
///
/// The way from attribute to attribute depends on their headers alone. So in another message of the same length that
/// has the same headers in the same places the fields stand where they stood, and to compare all headers at once is a
/// fraction of going that way.
#[derive(Debug)]
pub(super) struct Layout<const FIELDS: usize> {
    /// Bytes of the message.
    length: usize,
    /// The headers of each whole block.
    headers: Vec<Headers>,
    /// The headers in the last bytes, as many as a block has.
    last: Headers,
    /// In 32 bits, so that to add a length to one is no overflow to look out for.
    fields: [u32; FIELDS],
}

/// Bytes that are compared in one step of a loop. The compiler is told to make small code, and so does not join steps.
const BLOCK: usize = 4 * size_of::<u128>();

/// A block of a message.
type Block = [u128; 4];

fn block(bytes: &[u8]) -> Option<Block> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    let (third, rest) = rest.split_first_chunk()?;
    let fourth = rest.first_chunk()?;
    Some([*first, *second, *third, *fourth].map(u128::from_ne_bytes))
}

/// The headers in a block.
#[derive(Debug)]
struct Headers {
    /// The headers, and zeros between them.
    bytes: Block,
    /// All ones if a header stands there.
    mask: Block,
}

impl Headers {
    fn of(bytes: &[u8], mask: &[u8]) -> Option<Self> {
        Some(Self {
            bytes: block(bytes)?,
            mask: block(mask)?,
        })
    }

    /// True if the block has the same headers.
    fn are_in(&self, [first, second, third, fourth]: Block) -> bool {
        let [first_headers, second_headers, third_headers, fourth_headers] = self.bytes;
        let [first_mask, second_mask, third_mask, fourth_mask] = self.mask;
        let difference = (first ^ first_headers) & first_mask
            | (second ^ second_headers) & second_mask
            | (third ^ third_headers) & third_mask
            | (fourth ^ fourth_headers) & fourth_mask;
        difference == 0
    }
}

impl<const FIELDS: usize> Layout<FIELDS> {
    /// Goes through the attributes behind the first `start` bytes of a message. None where one does not fit into its
    /// surroundings or is too short for its field. Of two of a type the last one counts.
    #[cold] // of each kind of message once
    fn of(message: &[u8], start: usize, parts: Parts) -> Option<Self> {
        // no entry is shorter than a block
        let length = message.len().max(BLOCK);
        let mut walk = Walk {
            headers: vec![0; length],
            mask: vec![0; length],
            fields: [NOWHERE; FIELDS],
        };
        walk.through(message.get(start..)?, start, parts, 0)?;
        let [headers, masks] = [&walk.headers, &walk.mask];
        let blocks = headers
            .chunks_exact(BLOCK)
            .zip(masks.chunks_exact(BLOCK))
            .filter_map(|(headers, mask)| Headers::of(headers, mask));
        let last = length.checked_sub(BLOCK)?;
        Some(Self {
            length: message.len(),
            headers: blocks.collect(),
            last: Headers::of(headers.get(last..)?, masks.get(last..)?)?,
            fields: walk.fields,
        })
    }

    /// True if a message has the same attributes in the same places. A message that is shorter than a block never has.
    fn fits(&self, message: &[u8]) -> bool {
        if message.len() != self.length {
            return false;
        }
        let last = message.last_chunk::<BLOCK>();
        let Some(last) = last.and_then(|last| block(last)) else {
            return false;
        };
        let blocks = message.chunks_exact(BLOCK).filter_map(block);
        self.last.are_in(last)
            && blocks
                .zip(&self.headers)
                .all(|(block, headers)| headers.are_in(block))
    }

    /// The first bytes of a field; none where the message has no such attribute.
    pub(super) fn field<const N: usize>(&self, message: &[u8], field: usize) -> Option<[u8; N]> {
        let at = *self.fields.get(field)? as usize;
        message.get(at..at.checked_add(N)?)?.first_chunk().copied()
    }
}

/// A walk through a message that is to become a [`Layout`].
struct Walk<const FIELDS: usize> {
    headers: Vec<u8>,
    /// All ones if a header stands there.
    mask: Vec<u8>,
    fields: [u32; FIELDS],
}

impl<const FIELDS: usize> Walk<FIELDS> {
    /// Goes through attributes that begin at the byte `at` of the message; `base` is added to the numbers of fields.
    fn through(
        &mut self,
        attributes: &[u8],
        mut at: usize,
        parts: Parts,
        base: usize,
    ) -> Option<()> {
        for attribute in NlasIterator::new(attributes) {
            let mut attribute = attribute.ok()?;
            let header = attribute.inner().get(..NLA_HEADER_SIZE)?;
            let value = at + NLA_HEADER_SIZE;
            self.headers.get_mut(at..value)?.copy_from_slice(header);
            self.mask.get_mut(at..value)?.fill(u8::MAX);
            match parts.iter().find(|(known, _)| *known == attribute.kind()) {
                Some((_, Part::Field(field, length))) => {
                    if attribute.value_length() < *length {
                        return None;
                    }
                    *self.fields.get_mut(base + field)? = u32::try_from(value).ok()?;
                }
                Some((_, Part::Nest(parts, nested))) => {
                    self.through(attribute.value(), value, parts, base + nested)?;
                }
                None => {}
            }
            at += usize::from(attribute.length()).next_multiple_of(NLA_ALIGNTO);
        }
        Some(())
    }
}

/// The number of layouts that are remembered. A table has one for each protocol of each family, and some more with
/// accounting, helpers, labels.
const REMEMBERED: usize = 16;

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
            None => self.learn(Layout::of(message, start, parts)?)?,
        };
        self.known.get(place)?.as_ref()
    }

    /// Remembers a layout. Returns its place.
    fn learn(&mut self, layout: Layout<FIELDS>) -> Option<usize> {
        let place = self.next;
        *self.known.get_mut(place)? = Some(layout);
        self.next = (place + 1) % REMEMBERED;
        Some(place)
    }
}
