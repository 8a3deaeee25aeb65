//! The sysctls and the counters: an archive of them.

use std::time::{Duration, Instant};

use check_conntrack::model::error::ReadError;
use check_conntrack::model::readings::{Counter, Limit, Statistics};
use check_conntrack::source::{self, Asking};

use super::files::{Kind, Part, ProcRoot, parts, with_root};

/// The content of the last file of this name, if it is a file.
pub(crate) fn content<'a>(parts: &[Part<'a>], name: &str) -> Option<&'a [u8]> {
    let part = parts.iter().rfind(|part| part.name == name)?;
    (part.kind == Kind::File).then_some(part.content)
}

/// A number as every kernel prints it; none for anything else, which may be a number all the same.
pub(crate) fn printed_number(content: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(content.strip_suffix(b"\n")?).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The limit that the plugin reads is the one in the file.
fn is_limit(limit: Limit, number: i64) -> bool {
    match limit {
        Limit::Entries(max) => number > 0 && i64::from(max) == number,
        Limit::None(none) => number <= 0 && i64::from(none) == number,
    }
}

/// The sums of the counters where the file is one as a kernel prints it, read by other means than those of the plugin.
fn sums(content: &[u8]) -> Option<[Option<u64>; 4]> {
    let text = std::str::from_utf8(content).ok()?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    if names.first() != Some(&"entries") {
        return None;
    }
    let mut sums = Counter::ALL.map(|_| None);
    for line in lines {
        let cells: Vec<&str> = line.split_ascii_whitespace().collect();
        let hexadecimal = |cell: &&str| {
            cell.len() == 8 && cell.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if cells.len() != names.len() || !cells.iter().all(hexadecimal) {
            return None;
        }
        for (sum, counter) in sums.iter_mut().zip(Counter::ALL) {
            let Some(place) = names.iter().position(|name| *name == counter.column()) else {
                continue;
            };
            let value = u64::from_str_radix(cells[place], 16).expect("hexadecimal");
            *sum = Some(sum.unwrap_or(0) + value);
        }
    }
    Some(sums)
}

fn totals(statistics: &Statistics) -> [Option<u64>; 4] {
    Counter::ALL.map(|counter| statistics.total(counter))
}

/// Any content of the files is read as what it says, or is an error that can be printed.
pub fn kernel_files(data: &[u8]) {
    let parts = parts(data, &[]);
    with_root(|root| {
        root.hold(&parts, false);
        read(root);
    });
}

fn read(root: &ProcRoot) {
    let proc_root = &root.path();
    let readings = source::details(proc_root, source::usage(proc_root));
    let count = root.content("sys/net/netfilter/nf_conntrack_count");
    if let Some(number) = count.and_then(printed_number) {
        let expected = u32::try_from(number).ok();
        assert_eq!(readings.count.clone().ok(), expected, "{number}");
    }
    let max = root.content("sys/net/netfilter/nf_conntrack_max");
    if let Some(number) = max.and_then(printed_number) {
        let known = (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&number);
        match &readings.limit {
            Ok(limit) => assert!(known && is_limit(*limit, number), "{number} {limit:?}"),
            Err(error) => assert!(!known, "{number} {error}"),
        }
    }
    let buckets = root.content("sys/net/netfilter/nf_conntrack_buckets");
    if let Some(number) = buckets.and_then(printed_number) {
        let expected = u32::try_from(number).ok().filter(|buckets| *buckets > 0);
        assert_eq!(readings.buckets.clone().ok(), expected, "{number}");
    }
    let statistics = root.content("net/stat/nf_conntrack");
    if let Some(sums) = statistics.and_then(sums) {
        let read = readings.statistics.as_ref().map(totals);
        assert_eq!(read, Ok(sums));
    }
    // one capture's limit is read in the same way
    assert_eq!(source::limit(proc_root, None).limit, readings.limit);

    let errors = [
        readings.count.as_ref().err(),
        readings.limit.as_ref().err(),
        readings.buckets.as_ref().err(),
        readings.statistics.as_ref().err(),
    ];
    errors.into_iter().flatten().for_each(printable);
    let _ = source::timeouts(proc_root);
    let _ = source::procfs::ct_table::procfs_is_linear(proc_root);
    source::origin(proc_root)
        .iter()
        .for_each(|line| harmless(line));

    let asking = Asking {
        proc_root,
        live: false,
        strict: |_| (),
        own: &[],
        then_the_table: true,
        deadline: Instant::now() + Duration::from_secs(3600),
    };
    let readings = source::ask(asking, readings);
    if let Ok(open) = readings.untracked {
        assert!(
            readings.count == Ok(0)
                && open <= check_conntrack::model::readings::Readings::MAX_UNTRACKED
        );
    }
}

/// The sentence of an error quotes nothing that a host would interpret.
pub(crate) fn printable(error: &ReadError) {
    harmless(&error.to_string());
    if let Some(hint) = error.hint() {
        harmless(hint);
    }
}

fn harmless(text: &str) {
    assert!(
        text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            && !text.contains(['|', ';', '`', '$']),
        "{text:?}"
    );
}
