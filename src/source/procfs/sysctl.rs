//! nf_conntrack_count, nf_conntrack_max and nf_conntrack_buckets, under the names they had through the years.
//!
//! net/netfilter/nf_conntrack_standalone.c, and up to 4.8 net/ipv4/netfilter/nf_conntrack_l3proto_ipv4_compat.c.

use std::ops::RangeInclusive;
use std::path::Path;

use crate::model::error::{FileError, FilePurpose, ReadError};
use crate::model::readings::{Limit, Reading};
use crate::model::text::clean;
use crate::source::file;

/// The current name first. A missing file leads to the next name; a broken one is an error.
const COUNT: [&str; 2] = [
    "sys/net/netfilter/nf_conntrack_count",
    "sys/net/ipv4/netfilter/ip_conntrack_count",
];
const MAX: [&str; 4] = [
    "sys/net/netfilter/nf_conntrack_max",
    "sys/net/nf_conntrack_max",
    "sys/net/ipv4/netfilter/ip_conntrack_max",
    "sys/net/ipv4/ip_conntrack_max",
];
const BUCKETS: [&str; 2] = [
    "sys/net/netfilter/nf_conntrack_buckets",
    "sys/net/ipv4/netfilter/ip_conntrack_buckets",
];
const EXPECT_MAX: [&str; 1] = ["sys/net/netfilter/nf_conntrack_expect_max"];
/// There while the sysctls are hidden: in a namespace of a user namespace up to 5.6.
const STATISTICS: [&str; 2] = [super::ct_stat::FILE, super::ct_stat::OLD_FILE];

/// A number of the kernel and its line feed; anything longer is something else.
const NUMBER_MAX: usize = 64;
/// A map of user ids has up to 340 lines.
const UID_MAP_MAX: usize = 16_384;

/// Reads the two numbers the verdict needs.
pub(in crate::source) fn count_and_limit(proc_root: &Path) -> (Reading<u32>, Reading<Limit>) {
    let count = file::first(proc_root, &COUNT, NUMBER_MAX)
        .and_then(|(path, bytes)| parse_count(&path, &bytes));
    let limit = file::first(proc_root, &MAX, NUMBER_MAX)
        .and_then(|(path, bytes)| parse_limit(&path, &bytes));
    match (&count, &limit) {
        (Err(error), Err(other)) if is_absent(error) && is_absent(other) => {
            let error = why_absent(proc_root);
            (Err(error.clone()), Err(error))
        }
        // one without the other is not "does not track"
        (Err(error), _) if is_absent(error) => (Err(half(proc_root, &COUNT, &MAX)), limit),
        (_, Err(error)) if is_absent(error) => (count, Err(half(proc_root, &MAX, &COUNT))),
        _ => (count, limit),
    }
}

/// Reads the number of hash chains.
pub(in crate::source) fn buckets(proc_root: &Path) -> Reading<u32> {
    let (path, bytes) = file::first(proc_root, &BUCKETS, NUMBER_MAX)?;
    match parse_number(&path, &bytes)? {
        n @ 1.. => Ok(n as u32), // at most u32::MAX, see parse_number
        _ => Err(malformed(&path, &bytes, "a number of hash chains")),
    }
}

/// Reads the number of expectations there may be.
pub(in crate::source) fn expect_max(proc_root: &Path) -> Reading<u32> {
    let (path, bytes) = file::first(proc_root, &EXPECT_MAX, NUMBER_MAX)?;
    parse_count(&path, &bytes)
}

/// A timeout of sys/net/netfilter, in seconds.
pub(in crate::source) fn timeout(proc_root: &Path, name: &str) -> Option<u32> {
    let path = proc_root.join("sys/net/netfilter").join(name);
    let bytes = file::read(&path, NUMBER_MAX).ok()?;
    parse_count(&path, &bytes).ok()
}

/// The ports that the kernel gives to sockets that chose none (ip_local_port_range); its default if that cannot be
/// read.
pub(in crate::source) fn local_ports(proc_root: &Path) -> RangeInclusive<u16> {
    let path = proc_root.join("sys/net/ipv4/ip_local_port_range");
    let range = file::read(&path, NUMBER_MAX).ok().and_then(|bytes| {
        let text = String::from_utf8(bytes).ok()?;
        let mut words = text.split_ascii_whitespace();
        Some(words.next()?.parse().ok()?..=words.next()?.parse().ok()?)
    });
    range.unwrap_or(32_768..=60_999)
}

/// True unless the sysctls are those of another network namespace than the first one: these have net/core/somaxconn and
/// not net/core/dev_weight (`net_core_table` and `netns_core_table` in net/core/sysctl_net_core.c).
pub(in crate::source) fn is_first_netns(proc_root: &Path) -> bool {
    let core = proc_root.join("sys/net/core");
    core.join("dev_weight").exists() || !core.join("somaxconn").exists()
}

/// True unless the users of this process are those of another user namespace than the first one, which maps every user to
/// itself (user_namespaces(7)).
pub(in crate::source) fn is_first_user_namespace(proc_root: &Path) -> bool {
    let Ok(map) = file::read(&proc_root.join("self/uid_map"), UID_MAP_MAX) else {
        return true;
    };
    let map = String::from_utf8_lossy(&map);
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn is_absent(error: &ReadError) -> bool {
    error.of_file() == Some(&FileError::Missing)
}

/// Neither count nor max is there: does this kernel not track, or can it not be seen?
fn why_absent(proc_root: &Path) -> ReadError {
    let directory = proc_root.join("sys/net");
    match std::fs::metadata(&directory).map_err(|error| file::explain(&directory, &error)) {
        Ok(_) => {}
        Err(error) => return error.about(FilePurpose::SysNet),
    }
    let witness = BUCKETS
        .into_iter()
        .chain(STATISTICS)
        .map(|name| proc_root.join(name))
        .find(|path| path.exists());
    match witness {
        Some(witness) => missing_beside(&proc_root.join(COUNT[0]), &witness),
        None => ReadError::NotTracking {
            directory: file::shown(&directory),
        },
    }
}

fn half(proc_root: &Path, missing: &[&str], present: &[&str]) -> ReadError {
    let path = |names: &[&str]| {
        names
            .first()
            .map(|name| proc_root.join(name))
            .unwrap_or_default()
    };
    let there = present
        .iter()
        .map(|name| proc_root.join(name))
        .find(|path| path.exists());
    missing_beside(&path(missing), &there.unwrap_or_else(|| path(present)))
}

fn missing_beside(path: &Path, witness: &Path) -> ReadError {
    let witness = file::shown(witness);
    ReadError::file(file::shown(path), FileError::MissingBeside { witness })
}

fn malformed(path: &Path, bytes: &[u8], expected: &'static str) -> ReadError {
    let found = clean(String::from_utf8_lossy(bytes).trim());
    let found = if found.is_empty() {
        "nothing printable".to_owned()
    } else {
        found
    };
    ReadError::file(file::shown(path), FileError::Malformed { found, expected })
}

/// A decimal integer as the kernel's `%d` or `%u` prints it, with nothing around it but blanks and the line feed.
fn parse_number(path: &Path, bytes: &[u8]) -> Reading<i64> {
    let number = std::str::from_utf8(bytes)
        .ok()
        .map(str::trim_ascii)
        .filter(|text| {
            text.bytes()
                .enumerate()
                .all(|(i, b)| b.is_ascii_digit() || (i == 0 && b == b'-'))
        })
        .and_then(|text| text.parse::<i64>().ok())
        // the kernel's int, or unsigned int on the kernels that print it so
        .filter(|number| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(number));
    number.ok_or_else(|| malformed(path, bytes, "a number of the kernel"))
}

fn parse_count(path: &Path, bytes: &[u8]) -> Reading<u32> {
    let number = parse_number(path, bytes)?;
    // at most u32::MAX, see parse_number
    u32::try_from(number).map_err(|_| {
        let count = number;
        ReadError::file(file::shown(path), FileError::CountWrapped { count })
    })
}

fn parse_limit(path: &Path, bytes: &[u8]) -> Reading<Limit> {
    let number = parse_number(path, bytes)?;
    Ok(match i32::try_from(number) {
        Ok(none @ ..=0) => Limit::None(none),
        _ => Limit::Entries(number as u32), // above 0 and at most u32::MAX, see parse_number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_network_namespace_has_settings_that_others_lack() {
        let root = tempfile::tempdir().unwrap();
        assert!(is_first_netns(root.path()), "nothing tells");
        let core = root.path().join("sys/net/core");
        std::fs::create_dir_all(&core).unwrap();
        std::fs::write(core.join("somaxconn"), "4096\n").unwrap();
        assert!(!is_first_netns(root.path()));
        std::fs::write(core.join("dev_weight"), "64\n").unwrap();
        assert!(is_first_netns(root.path()));
    }

    #[test]
    fn the_first_user_namespace_maps_every_user_to_itself() {
        let root = tempfile::tempdir().unwrap();
        assert!(is_first_user_namespace(root.path()), "nothing tells");
        std::fs::create_dir(root.path().join("self")).unwrap();
        for (map, is_first) in [
            ("         0          0 4294967295\n", true),
            ("         0       1000          1\n", false),
            ("0 100000 65536\n", false),
            ("0 0 1\n1 1 4294967294\n", false),
        ] {
            std::fs::write(root.path().join("self/uid_map"), map).unwrap();
            assert_eq!(is_first_user_namespace(root.path()), is_first, "{map}");
        }
    }

    fn number(text: &[u8]) -> Option<i64> {
        parse_number(Path::new("f"), text).ok()
    }

    #[test]
    fn numbers_are_those_the_kernel_prints() {
        for (text, value) in [
            ("0\n", 0),
            ("262144\n", 262_144),
            ("-1\n", -1),
            ("4294967295", 4_294_967_295),
            ("007", 7),
        ] {
            assert_eq!(number(text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            &b"\n"[..],
            b"-",
            b"+1",
            b"1 2",
            b"1.5",
            b"0x10",
            b"1e3",
            b"twelve",
            b"4294967296",
            b"-2147483649",
            b"99999999999999999999",
            b"\xff\xfe",
            b"1\0",
            "\u{663}".as_bytes(),
        ] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn zero_and_negative_maxima_mean_no_limit() {
        assert_eq!(parse_limit(Path::new("f"), b"0\n"), Ok(Limit::None(0)));
        assert_eq!(parse_limit(Path::new("f"), b"-1\n"), Ok(Limit::None(-1)));
        assert_eq!(parse_limit(Path::new("f"), b"1\n"), Ok(Limit::Entries(1)));
        assert_eq!(
            parse_limit(Path::new("f"), b"4294967295\n"),
            Ok(Limit::Entries(u32::MAX))
        );
    }

    #[test]
    fn a_negative_count_is_known_as_one() {
        let wrapped = |count| ReadError::file("f".to_owned(), FileError::CountWrapped { count });
        for count in [-1, -5, i64::from(i32::MIN)] {
            let text = format!("{count}\n");
            let parsed = parse_count(Path::new("f"), text.as_bytes());
            assert_eq!(parsed, Err(wrapped(count)));
        }
    }
}
