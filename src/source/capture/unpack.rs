//! The text of a capture: as it is, or unpacked if it is gzip.
//!
//! Nothing is unpacked at once: each read gives what fits into its buffer, so memory does not depend on what comes, and
//! the reader of the lines looks at its deadline in between.

use std::io::{BufReader, Chain, Cursor, Error, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

use super::foreign::{self, GZIP, MAGIC};
use super::open::Capture;
use crate::model::error::ReadError;

/// A capture from its first byte on.
type Whole = Chain<Cursor<Vec<u8>>, Capture>;

/// The text of a capture.
pub enum Text {
    /// As it is.
    Plain(Whole),
    /// Unpacked, one member after the other.
    Gzip(Box<MultiGzDecoder<BufReader<Whole>>>),
}

/// Looks at the first bytes of a capture. Waits for them no longer than the capture itself does.
///
/// # Errors
/// The capture has a format that holds no lines.
pub fn text(mut capture: Capture) -> Result<Text, ReadError> {
    let mut beginning = Vec::with_capacity(MAGIC);
    while beginning.len() < MAGIC {
        let mut buffer = [0; MAGIC];
        let missing = buffer.get_mut(beginning.len()..).unwrap_or_default();
        match capture.read(missing) {
            Ok(read) if read > 0 => {
                beginning.extend_from_slice(missing.get(..read).unwrap_or_default());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // the reader of the lines meets the end, or the error, again
            Ok(_) | Err(_) => break,
        }
    }
    if let Some(problem) = foreign::of_file(&beginning) {
        return Err(capture.is_foreign(problem));
    }
    let is_gzip = beginning.starts_with(GZIP);
    let whole = Cursor::new(beginning).chain(capture);
    Ok(if is_gzip {
        unpacked(whole)
    } else {
        Text::Plain(whole)
    })
}

/// The text of a gzip file. The decoder's 43 KB are made on the stack before they are moved to the heap, and a caller
/// that this function was inlined into would reserve them for every run: more than a stack of 64 KB has.
#[inline(never)]
fn unpacked(whole: Whole) -> Text {
    Text::Gzip(Box::new(MultiGzDecoder::new(BufReader::new(whole))))
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(text) => text.read(buffer),
            Self::Gzip(text) => text.read(buffer).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Error::new(error.kind(), "its gzip data ends too soon"),
                ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                    Error::new(error.kind(), "its gzip data is damaged")
                }
                _ => error,
            }),
        }
    }
}
