//! Reads one kernel file whole, whatever stands in its place, without ever waiting for it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::model::error::ReadError;
use crate::model::text::clean_path;

/// Bytes of a file that are read at once, if there are so many.
const CHUNK: usize = 4096;

/// The path as it may be printed.
pub(crate) fn shown(path: &Path) -> String {
    clean_path(&path.to_string_lossy())
}

/// Opens whatever stands there for reading, without waiting for it.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    // a fifo without a writer would block the open, a terminal could become ours
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// Every way in which it is not an ordinary readable file with something in it.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let file = open(path).map_err(|error| explain(path, &error))?;
    contents(file, path, limit)
}

/// The rest of a file, opened under this path.
///
/// # Errors
/// As [`read`].
pub(crate) fn contents(file: File, path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::with_capacity(CHUNK);
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(CHUNK);
        }
        // into memory that need not be zeroed first: the end of `bytes`
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return Err(odd_kind(path, &file).unwrap_or_else(|| explain(path, &error.into())));
            }
        }
        if bytes.len() > limit {
            return Err(odd_kind(path, &file).unwrap_or_else(|| ReadError::TooLong {
                path: shown(path),
                limit,
            }));
        }
    }
    if bytes.is_empty() {
        return Err(odd_kind(path, &file).unwrap_or_else(|| ReadError::Empty { path: shown(path) }));
    }
    Ok(bytes)
}

/// Names what stands in the place of a file. Asked only after something went wrong, to spare the system call.
pub(crate) fn odd_kind(path: &Path, file: &File) -> Option<ReadError> {
    let kind = file.metadata().ok()?.file_type();
    let kind = if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_char_device() || kind.is_block_device() {
        "device"
    } else {
        return None;
    };
    Some(ReadError::WrongKind {
        path: shown(path),
        kind,
    })
}

pub(crate) fn explain(path: &Path, error: &std::io::Error) -> ReadError {
    let path = shown(path);
    match error.kind() {
        ErrorKind::NotFound => ReadError::Missing { path },
        ErrorKind::PermissionDenied => ReadError::Denied { path },
        // open(2) says ENXIO for a socket
        _ if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => ReadError::WrongKind {
            path,
            kind: "socket or absent device",
        },
        _ => ReadError::Io {
            path,
            reason: crate::model::text::clean(&error.to_string()),
        },
    }
}
