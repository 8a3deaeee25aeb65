//! /proc/meminfo (proc_meminfo(5)): how much memory the host has.

use std::path::Path;

use crate::source::file;

const FILE: &str = "meminfo";
/// Some fifty lines.
const LONGEST: usize = 64 << 10;

/// MemTotal in bytes; none if it cannot be read.
pub fn total(proc_root: &Path) -> Option<u64> {
    let bytes = file::read(&proc_root.join(FILE), LONGEST).ok()?;
    parse_total(std::str::from_utf8(&bytes).ok()?)
}

/// `MemTotal:       16316412 kB`, where kB are 1024 bytes.
fn parse_total(text: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes = value.trim().strip_suffix("kB")?.trim();
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_a_number_of_kilobytes() {
        let text = "MemTotal:       16316412 kB\nMemFree:         1234 kB\n";
        assert_eq!(parse_total(text), Some(16_316_412 << 10));
        for other in [
            "",
            "MemFree: 5 kB\n",
            "MemTotal: 5\n",
            "MemTotal: -5 kB\n",
            "MemTotal: 99999999999999999999 kB\n",
        ] {
            assert_eq!(parse_total(other), None, "{other:?}");
        }
    }
}
