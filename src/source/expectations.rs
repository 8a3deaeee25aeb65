//! Expectations: connections that a helper (FTP, SIP) expects, and how many of them there may be.

use std::path::Path;

use super::entries::EntryQuery;
use super::file;
use super::netlink::exp_dump;
use super::procfs::sysctl;
use crate::model::error::FileError;
use crate::model::readings::{InUse, Reading};
use crate::runtime::privilege;

/// A line for each expectation, mode 0440.
const FILE: &str = "net/nf_conntrack_expect";
/// Some hundred thousand lines: more than any limit permits.
const FILE_MAX: usize = 32 << 20;

/// Reads the expectations of a namespace, over ctnetlink if that is permitted, else from the file.
///
/// # Errors
/// Neither can be read, or the limit is not known.
pub fn expectations(wanted: &EntryQuery) -> Reading<InUse> {
    let of = u64::from(sysctl::expect_max(&wanted.proc_root)?);
    let over_netlink = wanted.place.live.then(|| {
        privilege::raise(privilege::DUMP);
        exp_dump::count(wanted.deadline, privilege::lower)
    });
    let used = match over_netlink {
        Some(Ok(used)) => used,
        Some(Err(why)) => from_file(&wanted.place.net_root).map_err(|_| why)?,
        None => from_file(&wanted.place.net_root)?,
    };
    Ok(InUse { used, of })
}

fn from_file(net_root: &Path) -> Reading<u64> {
    let path = net_root.join(FILE);
    let read = privilege::with(privilege::FILES, || file::read(&path, FILE_MAX));
    match read {
        Ok(bytes) => Ok(bytes.iter().filter(|byte| **byte == b'\n').count() as u64),
        // no expectation, no line
        Err(why) if why.of_file() == Some(&FileError::Empty) => Ok(0),
        Err(why) => Err(why),
    }
}
