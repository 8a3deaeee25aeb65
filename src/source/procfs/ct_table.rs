//! net/nf_conntrack, the table as text.

use std::fs::File;
use std::path::Path;

use crate::model::error::{FilePurpose, ReadError};
use crate::source::capture::words::is_number;
use crate::source::file;

/// Below the proc root; the second name of old kernels, and for compatibility beside the first up to 4.8.
pub(in crate::source) const PROCFS: &str = "net/nf_conntrack";
const PROCFS_OLD: &str = "net/ip_conntrack";

/// Opens the table as text below the proc root.
///
/// # Errors
/// Kernels may be built without it, and only few may read it.
pub fn open_procfs(proc_root: &Path) -> Result<File, ReadError> {
    match open_table(&proc_root.join(PROCFS)) {
        Err(error) if error.is_missing() => {
            match open_table(&proc_root.join(PROCFS_OLD)) {
                // the name that is looked for today
                Err(other) if other.is_missing() => Err(error),
                other => other,
            }
        }
        other => other,
    }
}

fn open_table(path: &Path) -> Result<File, ReadError> {
    let failed = |error| file::explain(path, &error).about(FilePurpose::Table);
    let file = file::open(path).map_err(failed)?;
    match file::odd_kind(path, &file) {
        Some(error) => Err(error),
        None => Ok(file),
    }
}

/// True if this kernel reads the file in time proportional to its length: from 6.16 on. Before, each read began at the
/// table's start again (`ct_get_idx` in nf_conntrack_standalone.c).
pub fn procfs_is_linear(proc_root: &Path) -> bool {
    file::read(&proc_root.join("sys/kernel/osrelease"), 256)
        .ok()
        .and_then(|release| parse_release(&release))
        .is_some_and(|release| release >= (6, 16))
}

/// The first two numbers of a kernel release: 6.18.44-fc is (6, 18).
fn parse_release(release: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(release).ok()?;
    let mut parts = text.trim_ascii().split('.');
    let major = parts.next().filter(|major| is_number(major.as_bytes()))?;
    // 16-rc1
    let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
