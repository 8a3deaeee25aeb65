//! Opens a capture: a file, or standard input.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use crate::model::error::{FileError, ReadError};
use crate::model::foreign::Foreign;
use crate::source::file;
use crate::source::wait::until_readable;

/// The device number of /dev/null (Documentation/admin-guide/devices.txt).
const NULL: u64 = 1 << 8 | 3;

/// A capture to read from. Where it may have to be waited for (a pipe, a terminal), this is done no longer than until
/// the deadline; then reading fails with an error of the kind `TimedOut`.
#[derive(Debug)]
pub struct Capture {
    file: File,
    /// Its name as it may be printed.
    shown: String,
    waits: bool,
    deadline: Instant,
}

/// Opens a capture; `-` is standard input. Does not wait for a fifo's writer.
///
/// # Errors
/// Nothing that can be read stands there, or this user may not.
pub fn open_capture(path: &Path, deadline: Instant) -> Result<Capture, ReadError> {
    let is_stdin = path.as_os_str() == "-";
    let shown = if is_stdin {
        "standard input".to_owned()
    } else {
        file::shown(path)
    };
    let opened = if is_stdin {
        // a descriptor of our own without the buffer of std's
        let stdin = rustix::stdio::stdin().try_clone_to_owned();
        stdin.map(File::from)
    } else {
        file::open(path)
    };
    let metadata = opened.and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = metadata.map_err(|error| not_opened(&shown, path, &error))?;
    let kind = metadata.file_type();
    let problem = if is_stdin && kind.is_char_device() && metadata.rdev() == NULL {
        // a plugin host gives it, and the runtime if standard input is closed: no empty table is meant
        Some(Foreign::Closed)
    } else if kind.is_dir() {
        Some(Foreign::Directory)
    } else if kind.is_block_device() {
        Some(Foreign::BlockDevice)
    } else {
        None
    };
    let capture = Capture {
        file,
        shown,
        waits: !kind.is_file(),
        deadline,
    };
    match problem {
        Some(problem) => Err(capture.is_foreign(problem)),
        None => Ok(capture),
    }
}

fn not_opened(shown: &str, path: &Path, error: &std::io::Error) -> ReadError {
    let explained = file::explain(path, error);
    let problem = match explained.of_file() {
        Some(FileError::Missing) => Foreign::Missing,
        Some(FileError::Denied) => Foreign::Denied,
        Some(FileError::WrongKind { .. }) => Foreign::Socket,
        _ => return explained,
    };
    ReadError::NoCapture {
        path: shown.to_owned(),
        problem,
    }
}

impl Capture {
    /// The file, or standard input, as it may be printed.
    pub fn name(&self) -> &str {
        &self.shown
    }

    /// The error for a capture that holds no table.
    pub(super) fn is_foreign(&self, problem: Foreign) -> ReadError {
        ReadError::NoCapture {
            path: self.shown.clone(),
            problem,
        }
    }

    /// Waits until there is something to read, or the end of it.
    fn wait(&self) -> std::io::Result<()> {
        if until_readable(&self.file, self.deadline)? {
            Ok(())
        } else {
            Err(ErrorKind::TimedOut.into())
        }
    }
}

impl Read for Capture {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if self.waits {
                self.wait()?;
            }
            match self.file.read(buffer) {
                // another reader was faster
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.waits => {}
                other => return other,
            }
        }
    }
}
