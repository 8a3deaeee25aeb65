//! Folders of the tests for files that live as long as a test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustix::fs::StatVfsMountFlags;
use tempfile::{NamedTempFile, TempDir};

/// The permission of everybody to go through a folder.
const PASSABLE: u32 = 0o001;

/// The folder below which the tests make theirs: the user's TMPDIR if every user may reach it and its programs may be
/// executed, else /tmp. Some tests run the plugin as another user.
pub fn temporary() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let given = std::env::var_os("TMPDIR").map(PathBuf::from);
        given
            .filter(|folder| is_usable(folder))
            .unwrap_or_else(|| PathBuf::from("/tmp"))
    });
    &FOLDER
}

fn is_usable(folder: &Path) -> bool {
    let passable = |folder: &Path| {
        folder
            .metadata()
            .is_ok_and(|found| found.is_dir() && found.permissions().mode() & PASSABLE != 0)
    };
    let executable = rustix::fs::statvfs(folder)
        .is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::NOEXEC));
    folder.is_absolute() && executable && folder.ancestors().all(passable)
}

/// A new folder that every user may look into and only this one may write to, whatever the umask.
pub fn new_folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("check_conntrack.")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(temporary())
        .expect("a temporary folder");
    // the umask takes away from the mode
    set_mode(folder.path(), 0o755);
    folder
}

/// Sets the mode of a file or folder, whatever the umask.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("an own file");
}

/// A new empty file of this user alone.
pub fn new_file() -> NamedTempFile {
    NamedTempFile::new_in(temporary()).expect("a temporary file")
}
