//! Reads files, whatever stands in their place, without ever waiting for one.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};

use crate::model::error::{FileError, ReadError};
use crate::model::text::{clean, clean_path};

/// Bytes of a file that are read at once, if there are so many.
const CHUNK: usize = 4096;
/// Bytes of most files of a process.
const SHORT: usize = 512;

/// The path as it may be printed.
pub(crate) fn shown(path: &Path) -> String {
    clean_path(&path.to_string_lossy())
}

/// Opens whatever stands there for reading, without waiting for it.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    open_at(CWD, path).map_err(Into::into)
}

/// Opens whatever has this name below an open directory for reading, without waiting for it.
pub(crate) fn open_at(directory: impl AsFd, name: &Path) -> Result<File, Errno> {
    // a fifo without a writer would block the open, a terminal could become ours
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    retry_on_intr(|| openat(&directory, name, flags, Mode::empty())).map(File::from)
}

/// Reads the beginning of a file below an open directory, at most `limit` bytes; none if it cannot be read.
pub(crate) fn beginning(directory: impl AsFd, name: &str, limit: usize) -> Option<Vec<u8>> {
    let file = open_at(directory, Path::new(name)).ok()?;
    let mut bytes = Vec::with_capacity(SHORT);
    read_to(&file, limit, &mut bytes).ok()?;
    bytes.truncate(limit);
    Some(bytes)
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
    if let Err(error) = read_to(&file, limit, &mut bytes) {
        return Err(odd_kind(path, &file).unwrap_or_else(|| explain(path, &error.into())));
    }
    if bytes.len() > limit {
        return Err(odd_kind(path, &file)
            .unwrap_or_else(|| ReadError::file(shown(path), FileError::TooLong { limit })));
    }
    if bytes.is_empty() {
        return Err(
            odd_kind(path, &file).unwrap_or_else(|| ReadError::file(shown(path), FileError::Empty))
        );
    }
    Ok(bytes)
}

/// Reads to the end of a file, or until there are more than `limit` bytes.
fn read_to(file: &File, limit: usize, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    while bytes.len() <= limit {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(CHUNK);
        }
        // into memory that need not be zeroed first: the end of `bytes`
        match rustix::io::read(file, spare_capacity(bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
