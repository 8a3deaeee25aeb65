//! A proc root from one input: a text archive, and where its parts are unpacked.
//!
//! ```text
//! == sys/net/netfilter/nf_conntrack_count
//! 850
//! == net/tcp
//! ...
//! =/ net/stat/nf_conntrack
//! =! sys/net/netfilter/nf_conntrack_max
//! ```
//!
//! A line of `==`, a blank and one of [`NAMES`] begins a file; `=/` makes a directory in its place, `=|` a fifo, `=!` a
//! file that may not be read. Any other line belongs to the file before it, so that whatever is made up is an archive.
//! What a link points to is its first line. Nothing outside the proc root is ever named: see [`NAMES`].

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Everything a proc root may hold here. The processes are 1, whose directory `self` may point to, 812 and 4711.
pub const NAMES: [&str; 58] = [
    "sys/net/netfilter/nf_conntrack_count",
    "sys/net/netfilter/nf_conntrack_max",
    "sys/net/netfilter/nf_conntrack_buckets",
    "sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait",
    "sys/net/netfilter/nf_conntrack_tcp_timeout_established",
    "sys/net/netfilter/nf_log_all_netns",
    "sys/net/nf_conntrack_max",
    "sys/net/ipv4/netfilter/ip_conntrack_count",
    "sys/net/ipv4/netfilter/ip_conntrack_max",
    "sys/net/ipv4/netfilter/ip_conntrack_buckets",
    "sys/net/ipv4/ip_conntrack_max",
    "sys/net",
    "sys/kernel/osrelease",
    "sys/kernel/random/boot_id",
    "uptime",
    "net/stat/nf_conntrack",
    "net/stat/ip_conntrack",
    "net/nf_conntrack",
    "net/ip_conntrack",
    "net/fib_trie",
    "net/if_inet6",
    "net/ipv6_route",
    "net/snmp",
    "net/tcp",
    "net/tcp6",
    "net/udp",
    "net/udp6",
    "self",
    "1/comm",
    "1/cgroup",
    "1/stat",
    "1/net/stat/nf_conntrack",
    "1/ns/net",
    "1/fd/0",
    "1/fd/3",
    "812/comm",
    "812/cgroup",
    "812/stat",
    "812/net/stat/nf_conntrack",
    "812/net/nf_conntrack",
    "812/net/fib_trie",
    "812/net/if_inet6",
    "812/net/tcp",
    "812/net/tcp6",
    "812/net/udp",
    "812/net/udp6",
    "812/ns/net",
    "812/fd/3",
    "812/fd/4",
    "812/fd/5",
    "812/fd/6",
    "812/fd/7",
    "4711/comm",
    "4711/cgroup",
    "4711/stat",
    "4711/net/stat/nf_conntrack",
    "4711/fd/3",
    "4711/fd",
];

/// The content of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Fifo,
    Unreadable,
}

impl Kind {
    const MARKS: [(Self, &'static [u8]); 4] = [
        (Self::File, b"== "),
        (Self::Directory, b"=/ "),
        (Self::Fifo, b"=| "),
        (Self::Unreadable, b"=! "),
    ];
}

/// A part of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub kind: Kind,
    pub name: &'static str,
    pub content: &'a [u8],
}

/// The parts of an archive, those of the same name too. `others` may begin parts besides [`NAMES`].
pub fn parts<'a>(archive: &'a [u8], others: &[&'static str]) -> Vec<Part<'a>> {
    let header = |line: &[u8]| {
        let (kind, mark) = Kind::MARKS
            .into_iter()
            .find(|(_, mark)| line.starts_with(mark))?;
        let name = line[mark.len()..].trim_ascii_end();
        let mut known = NAMES.iter().chain(others);
        let name = known.find(|known| known.as_bytes() == name)?;
        // a link is a link, whatever mark it has
        Some((if is_link(name) { Kind::File } else { kind }, *name))
    };
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = archive;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        if let Some((kind, name)) = header(line) {
            parts.push(Part {
                kind,
                name,
                content: &after[..0],
            });
        } else if let Some(part) = parts.last_mut() {
            // what belongs together stands together
            let so_far = part.content.len();
            let start = archive.len() - rest.len() - so_far;
            part.content = &archive[start..start + so_far + line.len()];
        }
        rest = after;
    }
    parts
}

/// An archive of these files.
pub fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        archive.extend_from_slice(format!("== {name}\n").as_bytes());
        archive.extend_from_slice(content);
        if !content.ends_with(b"\n") && !content.is_empty() {
            archive.push(b'\n');
        }
    }
    archive
}

/// A proc root that stays in its place, where only what differs from one input to the next is written.
#[derive(Debug)]
pub struct ProcRoot {
    directory: tempfile::TempDir,
    /// The file at each of [`NAMES`].
    there: Vec<Option<(Kind, Vec<u8>)>>,
}

thread_local! {
    static ROOT: RefCell<Option<ProcRoot>> = const { RefCell::new(None) };
}

/// Lends the proc root of this thread.
pub fn with_root<T>(use_it: impl FnOnce(&mut ProcRoot) -> T) -> T {
    ROOT.with_borrow_mut(|root| use_it(root.get_or_insert_with(ProcRoot::new)))
}

fn is_link(name: &str) -> bool {
    name == "self" || name.ends_with("/ns/net") || name.contains("/fd/")
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcRoot {
    /// A place of its own, with nothing in it.
    pub fn new() -> Self {
        // as a check would have it: what may not be read cannot be read, not even by root
        check_conntrack::runtime::privilege::give_up_all();
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("state")).expect("its state");
        Self {
            directory,
            there: vec![None; NAMES.len()],
        }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("proc")
    }

    /// A place for states, and for a capture, beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The content of the file of this name, if it is a file.
    pub fn content(&self, name: &str) -> Option<&[u8]> {
        let place = NAMES.iter().position(|known| *known == name)?;
        match &self.there[place] {
            Some((Kind::File, content)) => Some(content),
            _ => None,
        }
    }

    /// True if anything stands there.
    pub fn has(&self, name: &str) -> bool {
        let place = NAMES.iter().position(|known| *known == name);
        place.is_some_and(|place| self.there[place].is_some())
    }

    /// Makes it hold these parts and nothing else, the last one of a name; `keep` leaves what else is there. What comes
    /// of it depends on nothing that was there before.
    pub fn hold(&mut self, parts: &[Part], keep: bool) {
        let wanted = NAMES.map(|name| {
            // what stands below it needs a directory in its place
            let is_above = |part: &Part| {
                part.name
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            let part = parts.iter().rfind(|part| part.name == name);
            part.filter(|_| !parts.iter().any(is_above))
        });
        // what goes may stand in the way of what comes
        for (index, name) in NAMES.iter().enumerate() {
            let part = match (wanted[index], keep) {
                (None, true) => continue,
                (part, _) => part,
            };
            let Some((kind, content)) = &self.there[index] else {
                continue;
            };
            let (kind, same) = match part {
                Some(part) => (*kind, *kind == part.kind && *content == part.content),
                None => (*kind, false),
            };
            let in_place = kind == Kind::File && !is_link(name);
            if same || (in_place && part.is_some_and(|part| part.kind == kind)) {
                continue;
            }
            self.there[index] = None;
            self.remove(
                &self.path().join(name),
                kind == Kind::Directory && !is_link(name),
            );
        }
        for (index, name) in NAMES.iter().enumerate() {
            let Some(part) = wanted[index] else { continue };
            let known = self.there[index].as_ref();
            let same = known.is_some_and(|(_, content)| *content == part.content);
            // a directory went with the last file in it
            if same && part.kind != Kind::Directory {
                continue;
            }
            let made = make(&self.path().join(name), part).is_ok();
            self.there[index] = made.then(|| (part.kind, part.content.to_vec()));
        }
    }

    fn remove(&self, path: &Path, is_directory: bool) {
        let removed = if is_directory {
            fs::remove_dir(path)
        } else {
            fs::remove_file(path)
        };
        match removed {
            Ok(()) => {}
            // a directory goes with the last file in it
            Err(error)
                if is_directory
                    && matches!(
                        error.kind(),
                        ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound
                    ) => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
        for directory in path.ancestors().skip(1) {
            if directory == self.directory.path() || fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
}

/// Fails where another part is in the way.
fn make(path: &Path, part: &Part) -> std::io::Result<()> {
    let attempt = || -> std::io::Result<()> {
        if is_link(part.name) {
            let first = part.content.split(|byte| *byte == b'\n').next();
            let target = first.unwrap_or_default();
            // nothing is to lead out of the proc root
            let elsewhere = part.name == "self" && target != b"1" && target != b"812";
            if elsewhere || target.is_empty() {
                return Err(ErrorKind::InvalidInput.into());
            }
            return symlink(OsStr::from_bytes(target), path);
        }
        match part.kind {
            Kind::File => fs::write(path, part.content),
            Kind::Directory if path.is_dir() => Ok(()),
            Kind::Directory => fs::create_dir(path),
            Kind::Fifo => Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0)?),
            Kind::Unreadable => {
                fs::write(path, part.content)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o000))
            }
        }
    };
    match attempt() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            attempt()
        }
        done => done,
    }
}
