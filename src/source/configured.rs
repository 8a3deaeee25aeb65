//! The configured limit: nf_conntrack_max and nf_conntrack_buckets as sysctl.d(5), sysctl.conf(5) and modprobe.d(5) set
//! them.
//!
//! A limit that is set before the module nf_conntrack is loaded is lost, because its file under /proc/sys does not exist
//! yet. So a value in force may be lower than the configured one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::file;

/// Folders of sysctl.d(5) below the root, the one that wins first. A file hides those of the same name in later folders.
const SYSCTL_FOLDERS: [&str; 5] = [
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    "lib/sysctl.d",
];
/// Read last by `sysctl --system`.
const SYSCTL_CONF: &str = "etc/sysctl.conf";
/// Folders of modprobe.d(5), in the same way.
const MODPROBE_FOLDERS: [&str; 5] = [
    "etc/modprobe.d",
    "run/modprobe.d",
    "usr/local/lib/modprobe.d",
    "usr/lib/modprobe.d",
    "lib/modprobe.d",
];
/// More files than this in a folder are not looked at.
const MOST_FILES: usize = 512;
/// A file of settings is a few kilobytes long.
const LONGEST: usize = 256 << 10;

/// The names of the limit, today's first.
const MAX_KEYS: [&str; 3] = [
    "net.netfilter.nf_conntrack_max",
    "net.nf_conntrack_max",
    "net.ipv4.netfilter.ip_conntrack_max",
];
const BUCKETS_KEYS: [&str; 1] = ["net.netfilter.nf_conntrack_buckets"];

/// A configured value and the file that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredValue {
    /// The value.
    pub value: u64,
    /// The file, which is safe to print.
    pub file: String,
}

/// Configured values; none if no file sets one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfiguredLimits {
    /// nf_conntrack_max.
    pub max: Option<ConfiguredValue>,
    /// nf_conntrack_buckets, or hashsize of the module.
    pub buckets: Option<ConfiguredValue>,
}

/// Reads the configured values below `root`, which is `/` but in tests. A file that cannot be read is skipped.
pub fn configured_limits(root: &Path) -> ConfiguredLimits {
    let mut limits = ConfiguredLimits::default();
    for path in files_in(root, &MODPROBE_FOLDERS) {
        let value = contents(&path).as_deref().and_then(parse_hashsize);
        if let Some(value) = value {
            limits.buckets = Some(ConfiguredValue {
                value,
                file: file::shown(&path),
            });
        }
    }
    let sysctl_conf = root.join(SYSCTL_CONF);
    for path in files_in(root, &SYSCTL_FOLDERS)
        .into_iter()
        .chain([sysctl_conf])
    {
        let Some(text) = contents(&path) else {
            continue;
        };
        let setting = |value| ConfiguredValue {
            value,
            file: file::shown(&path),
        };
        if let Some(value) = parse_sysctl(&text, &MAX_KEYS) {
            limits.max = Some(setting(value));
        }
        if let Some(value) = parse_sysctl(&text, &BUCKETS_KEYS) {
            limits.buckets = Some(setting(value));
        }
    }
    limits
}

fn contents(path: &Path) -> Option<String> {
    let bytes = file::read(path, LONGEST).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files `*.conf` of these folders, in the order in which they are applied: by name, whatever the folder.
fn files_in(root: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let mut by_name: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries.flatten().take(MOST_FILES) {
            let name = entry.file_name();
            if Path::new(&name)
                .extension()
                .is_some_and(|end| end == "conf")
            {
                by_name.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    by_name.into_values().collect()
}

/// The last value that a file of sysctl.d(5) gives to one of these keys.
fn parse_sysctl(text: &str, keys: &[&str]) -> Option<u64> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                return None;
            }
            let (key, value) = line.split_once('=')?;
            // a minus says that an error does not matter
            let key = key.trim().trim_start_matches('-').replace('/', ".");
            keys.contains(&key.as_str())
                .then(|| value.trim().parse().ok())
                .flatten()
        })
        .next_back()
}

/// The last hashsize that a file of modprobe.d(5) gives to the module.
fn parse_hashsize(text: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            if words.next()? != "options" || words.next()?.replace('-', "_") != "nf_conntrack" {
                return None;
            }
            words
                .filter_map(|word| word.strip_prefix("hashsize=")?.parse().ok())
                .next_back()
        })
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn max(files: &[(&str, &str)]) -> Option<u64> {
        let root = tree(files);
        configured_limits(root.path()).max.map(|max| max.value)
    }

    const SET: &str = "net.netfilter.nf_conntrack_max = 262144\n";

    #[test]
    fn the_file_with_the_last_name_wins_whatever_its_folder() {
        let other = "net/netfilter/nf_conntrack_max=1000";
        assert_eq!(max(&[("etc/sysctl.d/90-a.conf", SET)]), Some(262_144));
        assert_eq!(
            max(&[
                ("etc/sysctl.d/10-a.conf", SET),
                ("usr/lib/sysctl.d/90-b.conf", other)
            ]),
            Some(1000)
        );
        assert_eq!(
            max(&[
                ("etc/sysctl.d/90-a.conf", SET),
                ("usr/lib/sysctl.d/90-a.conf", other)
            ]),
            Some(262_144),
            "the folder of the administrator hides the file of the same name"
        );
        assert_eq!(
            max(&[("etc/sysctl.d/90-a.conf", SET), ("etc/sysctl.conf", other)]),
            Some(1000)
        );
    }

    #[test]
    fn a_line_is_a_key_and_a_value_and_comments_are_skipped() {
        let in_file = |text| max(&[("etc/sysctl.d/a.conf", text)]);
        assert_eq!(in_file("-net.nf_conntrack_max=5"), Some(5));
        assert_eq!(
            in_file("net.netfilter.nf_conntrack_max=5\nnet.netfilter.nf_conntrack_max=6"),
            Some(6)
        );
        for nothing in [
            "#net.nf_conntrack_max=5",
            "; net.nf_conntrack_max=5",
            "net.nf_conntrack_max",
            "net.nf_conntrack_max=many",
            "net.netfilter.nf_conntrack_max_retrans=5",
            "",
        ] {
            assert_eq!(in_file(nothing), None, "{nothing:?}");
        }
        assert_eq!(max(&[("etc/sysctl.d/a.txt", SET)]), None, "not *.conf");
        assert_eq!(max(&[]), None);
    }

    #[test]
    fn buckets_come_from_the_module_or_from_sysctl() {
        let buckets = |files: &[(&str, &str)]| {
            configured_limits(tree(files).path())
                .buckets
                .map(|buckets| (buckets.value, buckets.file.ends_with("a.conf")))
        };
        let module = (
            "etc/modprobe.d/a.conf",
            "# x\noptions nf-conntrack acct=1 hashsize=65536\n",
        );
        assert_eq!(buckets(&[module]), Some((65_536, true)));
        assert_eq!(
            buckets(&[
                module,
                (
                    "etc/sysctl.d/b.conf",
                    "net.netfilter.nf_conntrack_buckets=1\n"
                )
            ]),
            Some((1, false))
        );
        assert_eq!(
            buckets(&[(
                "etc/modprobe.d/a.conf",
                "options nf_conntrack_ftp hashsize=5"
            )]),
            None
        );
    }
}
