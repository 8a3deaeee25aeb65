//! The mount option hidepid= of a procfs, which hides the processes of other users (proc(5)).

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, PROC_SUPER_MAGIC, fstat, fstatfs, major, minor, readlinkat, statat};
use rustix::io::Errno;

use crate::source::file;

/// The evidence of a walk over the visible processes for or against hidden ones.
pub(super) struct Hiding {
    /// The procfs may hide processes, and no visible process has shown yet that it does not.
    suspected: bool,
    /// Process 1 was not seen. Every procfs has one.
    without_init: bool,
}

impl Hiding {
    /// Looks at the mount options of a procfs. A directory of recorded files hides nothing.
    pub(super) fn of(root: &OwnedFd) -> Self {
        // the type is an i64 here and an u32 elsewhere
        let is_procfs =
            fstatfs(root).map_or(true, |fs| fs.f_type as u64 == PROC_SUPER_MAGIC as u64);
        Self {
            suspected: is_procfs && may_hide(root),
            without_init: is_procfs,
        }
    }

    /// Takes note of a process that is visible. If this user may not look into it, then the option does not hide
    /// processes from this user: its gid= names a group of this user. The kernel makes the same test for both
    /// (`has_pid_permissions` in fs/proc/base.c).
    pub(super) fn saw(&mut self, root: &OwnedFd, pid: i32) {
        self.without_init &= pid != 1;
        if self.suspected {
            let refused = readlinkat(root, format!("{pid}/ns/net"), Vec::new());
            let still_visible = || statat(root, pid.to_string(), AtFlags::empty()).is_ok();
            if matches!(refused, Err(Errno::ACCESS | Errno::PERM)) && still_visible() {
                self.suspected = false;
            }
        }
    }

    /// Returns true if processes may be hidden from this user, once every visible one was looked at.
    pub(super) fn hides(&self) -> bool {
        self.suspected || self.without_init
    }
}

/// Returns true unless the mount table says that this procfs lists every process.
fn may_hide(root: &OwnedFd) -> bool {
    let Ok(stat) = fstat(root) else {
        return true;
    };
    let device = format!("{}:{}", major(stat.st_dev), minor(stat.st_dev));
    let Ok(mounts) = file::open_at(root, Path::new(MOUNTS)) else {
        return true;
    };
    let Ok(mounts) = file::contents(mounts, Path::new(MOUNTS), MAX_BYTES) else {
        return true;
    };
    let mounts = String::from_utf8_lossy(&mounts);
    hidepid(&mounts, &device).is_none_or(|value| !SHOWS_ALL.contains(&value))
}

/// The mounts that this process sees, whichever procfs shows them.
const MOUNTS: &str = "self/mountinfo";
/// The layers of an overlay make long lines, and there are thousands of them.
const MAX_BYTES: usize = 8 << 20;
/// Values with which every process is listed: with `noaccess` those of other users may not be looked into, which a walk
/// meets by itself. Kernels before 5.8 print numbers.
const SHOWS_ALL: [&str; 5] = ["", "0", "off", "1", "noaccess"];

/// Finds the value of hidepid= of the mount with this device number; empty if it has none. The result is none if no such
/// mount is listed.
fn hidepid<'a>(mounts: &'a str, device: &str) -> Option<&'a str> {
    // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS (proc_pid_mountinfo(5))
    let mut lines = mounts.lines();
    let line = lines.find(|line| line.split(' ').nth(2) == Some(device))?;
    let (_, filesystem) = line.split_once(" - ")?;
    let mut options = filesystem.split(' ').nth(2)?.split(',');
    let value = options.find_map(|option| option.strip_prefix("hidepid="));
    Some(value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_that_of_the_mount_with_the_same_device() {
        let mounts = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            23 27 0:22 / /sys rw,relatime shared:2 - sysfs sysfs rw\n\
            90 27 0:55 / /mnt/with\\040blank rw,nosuid shared:3 master:1 - proc none rw,gid=4,hidepid=invisible\n\
            91 27 0:56 / /mnt/old rw - proc proc rw,hidepid=2\n";
        let of = |device| hidepid(mounts, device);
        assert_eq!(of("0:21"), Some(""));
        assert_eq!(of("0:55"), Some("invisible"));
        assert_eq!(of("0:56"), Some("2"));
        assert_eq!(of("0:5"), None);
    }
}
