//! The table of a network namespace, as the conntrack program fills and lists it.

use std::ops::RangeInclusive;
use std::process::Command;

use super::plugin::COUNT;
use super::programs::{needs, printed, program};

/// A conntrack command, started by these words: `["ip", "netns", "exec", "client"]`.
fn conntrack(words: &[&str]) -> Command {
    match words {
        [first, rest @ ..] => {
            let mut command = program(first);
            command.args(rest).arg(needs("conntrack"));
            command
        }
        [] => program("conntrack"),
    }
}

/// Inserts entries: options of conntrack, one entry a line.
pub fn insert(entries: &str) {
    insert_by(&[], entries);
}

/// Inserts entries in the namespace that these words lead into.
pub fn insert_by(words: &[&str], entries: &str) {
    let file = crate::common::new_file();
    std::fs::write(file.path(), entries).expect("an own file");
    printed(conntrack(words).arg("-R").arg(file.path()));
}

/// Entries of UDP between addresses for documentation, as `insert` takes them.
pub fn udp(numbers: RangeInclusive<u32>) -> String {
    let entry = |number: u32| {
        let (last, port) = (number % 250 + 1, 1024 + number);
        format!("-A -p udp -s 192.0.2.{last} -d 198.51.100.7 --sport {port} --dport 53 -t 600\n")
    };
    numbers.map(entry).collect()
}

/// Empties the table.
pub fn flush() {
    flush_by(&[]);
}

/// Empties the table of the namespace that these words lead into.
pub fn flush_by(words: &[&str]) {
    printed(conntrack(words).arg("-F"));
}

/// The table, a line for each entry, first IPv4, then IPv6.
pub fn list_by(words: &[&str]) -> String {
    let list = |family| printed(conntrack(words).args(["-L", "-f", family]));
    ["ipv4", "ipv6"].map(list).concat()
}

/// The number of entries that the kernel counts in this network namespace.
pub fn count() -> u64 {
    let path = std::path::Path::new("/proc").join(COUNT);
    let count = std::fs::read_to_string(path).expect("a kernel that tracks connections");
    count.trim().parse().expect("a number")
}

/// The sum of a counter over all CPUs, as `conntrack -S` prints it.
pub fn counter(name: &str) -> u64 {
    let statistics = printed(conntrack(&[]).arg("-S"));
    let prefix = format!("{name}=");
    let values = statistics
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(&prefix));
    values
        .map(|value| value.parse::<u64>().expect("a number"))
        .sum()
}
