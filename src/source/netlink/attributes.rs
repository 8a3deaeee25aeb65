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
    /// The headers, and zeros between them.
    headers: Vec<u8>,
    /// All ones where a header stands.
    mask: Vec<u8>,
    /// In 32 bits, so that to add a length to one is no overflow to look out for.
    fields: [u32; FIELDS],
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
        layout.walk(message.get(start..)?, start, parts, 0)?;
        Some(layout)
    }

    /// Goes through attributes that begin at the byte `at` of the message; `base` is added to the numbers of fields.
    fn walk(&mut self, attributes: &[u8], mut at: usize, parts: Parts, base: usize) -> Option<()> {
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
                    self.walk(attribute.value(), value, parts, base + nested)?;
                }
                None => {}
            }
            at += usize::from(attribute.length()).next_multiple_of(NLA_ALIGNTO);
        }
        Some(())
    }

    /// True if a message has the same attributes in the same places.
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
        let at = *self.fields.get(field)? as usize;
        message.get(at..at.checked_add(N)?)?.first_chunk().copied()
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
