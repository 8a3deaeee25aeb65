//! Reads one kernel file whole, whatever stands in its place, without ever waiting for it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::model::error::{FileError, ReadError};
use crate::model::text::{clean, clean_path};

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

/// Reads the first file that exists of those with these names, the name of today first. A missing one leads to the next,
/// a broken one is an error.
///
/// # Errors
/// As [`read`]; if none exists, that of the first.
pub(crate) fn first(
    directory: &Path,
    names: &[&str],
    limit: usize,
) -> Result<(PathBuf, Vec<u8>), ReadError> {
    let mut missing = None;
    for name in names {
        let path = directory.join(name);
        match read(&path, limit) {
            Ok(bytes) => return Ok((path, bytes)),
            Err(error) if error.is_missing() => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(missing.unwrap_or(ReadError::NotReached))
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
            return Err(odd_kind(path, &file)
                .unwrap_or_else(|| ReadError::file(shown(path), FileError::TooLong { limit })));
        }
    }
    if bytes.is_empty() {
        return Err(
            odd_kind(path, &file).unwrap_or_else(|| ReadError::file(shown(path), FileError::Empty))
        );
    }
    Ok(bytes)
}

/// Reads a file of any length line by line until `deadline` or until `each` has enough, and hands on each line without
/// its line break. No line may have more than `longest` bytes. A file without a line is no error.
///
/// # Errors
/// Every way in which it is not an ordinary readable file of such lines, and [`ReadError::NotReached`].
pub(crate) fn lines(
    path: &Path,
    longest: usize,
    deadline: Instant,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut file = BufReader::new(open(path).map_err(|error| explain(path, &error))?);
    let mut line = Vec::new();
    let mut none = true;
    loop {
        line.clear();
        let mut rest = (&mut file).take(longest as u64 + 1);
        let failed = rest.read_until(b'\n', &mut line).err();
        if let Some(error) = failed {
            return Err(odd_kind(path, file.get_ref()).unwrap_or_else(|| explain(path, &error)));
        }
        if line.is_empty() {
            break;
        }
        none = false;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if line.len() > longest {
            let too_long = FileError::TooLong { limit: longest };
            return Err(odd_kind(path, file.get_ref())
                .unwrap_or_else(|| ReadError::file(shown(path), too_long)));
        }
        if Instant::now() >= deadline {
            return Err(ReadError::NotReached);
        }
        if each(line).is_break() {
            break;
        }
    }
    // a fifo that nobody writes to ends at once
    let odd = none.then(|| odd_kind(path, file.get_ref())).flatten();
    odd.map_or(Ok(()), Err)
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
    Some(ReadError::file(shown(path), FileError::WrongKind { kind }))
}

/// The reason why a file could not be opened or read.
pub(crate) fn explain(path: &Path, error: &std::io::Error) -> ReadError {
    let kind = match error.kind() {
        ErrorKind::NotFound => FileError::Missing,
        ErrorKind::PermissionDenied => FileError::Denied,
        // open(2) says ENXIO for a socket
        _ if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => FileError::WrongKind {
            kind: "socket or absent device",
        },
        _ => FileError::Io {
            reason: clean(&error.to_string()),
        },
    };
    ReadError::file(shown(path), kind)
}
