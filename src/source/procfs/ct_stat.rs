//! /proc/net/stat/nf_conntrack: a header and a line of hexadecimal counters for each processor.
//!
//! Columns are found by name: over the years `searched` became `clashres` and `delete_list` became `chainlength`, and
//! kernels before 2.6.35 have one less (`ct_cpu_seq_show` in net/netfilter/nf_conntrack_standalone.c).

use std::fs::File;
use std::path::Path;

use crate::model::error::{FileError, FilePurpose, ReadError};
use crate::model::readings::{Counter, Reading, Statistics};
use crate::model::text::clean;
use crate::source::file;

/// Below the proc root.
pub(super) const FILE: &str = "net/stat/nf_conntrack";
/// The name of the module ip_conntrack (up to 2.6.21), and for compatibility beside the first up to 4.8.
pub(super) const OLD_FILE: &str = "net/stat/ip_conntrack";

/// A line is 160 bytes, and no kernel knows more than 8192 processors.
const LONGEST: usize = 2 << 20;

/// The finding if there is no row.
const NO_ROW: &str = "nothing but a header";

/// Reads and parses the file.
pub(in crate::source) fn read(proc_root: &Path) -> Reading<Statistics> {
    let (path, bytes) = file::first(proc_root, &[FILE, OLD_FILE], LONGEST)
        .map_err(|error| error.about(FilePurpose::Statistics))?;
    match parse(&bytes).map_err(|found| malformed(&path, found))? {
        (Some(_), statistics) => Ok(statistics),
        (None, _) => Err(malformed(&path, NO_ROW.to_owned())),
    }
}

/// The rest of the file, opened under this path: also how many entries the namespace holds.
pub(in crate::source) fn of_namespace(
    file: File,
    path: &Path,
) -> (Reading<u32>, Reading<Statistics>) {
    let parsed = file::contents(file, path, LONGEST)
        .and_then(|bytes| parse(&bytes).map_err(|found| malformed(path, found)));
    match parsed {
        Ok((Some(entries), statistics)) => {
            let wrapped = |_| {
                let count = i64::from(entries as i32);
                ReadError::file(file::shown(path), FileError::CountWrapped { count })
            };
            // the kernel prints its int as an unsigned number
            let count = i32::try_from(entries).map(|_| entries).map_err(wrapped);
            (count, Ok(statistics))
        }
        Ok((None, statistics)) => {
            let no_row = malformed(path, NO_ROW.to_owned());
            (Err(no_row), Ok(statistics))
        }
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

fn malformed(path: &Path, found: String) -> ReadError {
    let malformed = FileError::Malformed {
        found,
        expected: "a header and rows of hexadecimal counters",
    };
    ReadError::file(file::shown(path), malformed)
}

/// Parses the file: the count of the namespace, which every row repeats, and its counters. The error is what was found
/// instead.
fn parse(bytes: &[u8]) -> Result<(Option<u32>, Statistics), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "bytes that are not text".to_owned())?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().unwrap_or_default();
    let names: Vec<&str> = header.split_ascii_whitespace().collect();
    // every era has this one first
    if names.first() != Some(&"entries") {
        return Err(clean(header));
    }
    let columns =
        Counter::ALL.map(|counter| names.iter().position(|name| *name == counter.column()));
    let mut entries = None;
    let processors = lines
        .map(|line| {
            entries = entries.or(line.split_ascii_whitespace().next());
            parse_row(line, &columns)
        })
        .collect::<Result<_, _>>()?;
    // a number of 32 bits like the others, or its row was refused
    let entries = entries.and_then(|word| u32::from_str_radix(word, 16).ok());
    Ok((entries, Statistics { processors }))
}

fn parse_row(line: &str, columns: &[Option<usize>; 4]) -> Result<[Option<u32>; 4], String> {
    let mut row = [None; 4];
    for (index, word) in line.split_ascii_whitespace().enumerate() {
        let hexadecimal = !word.is_empty() && word.bytes().all(|b| b.is_ascii_hexdigit());
        let value = if hexadecimal {
            u32::from_str_radix(word, 16).ok()
        } else {
            None
        };
        let value = value.ok_or_else(|| clean(word))?;
        for (cell, column) in row.iter_mut().zip(columns) {
            if *column == Some(index) {
                *cell = Some(value);
            }
        }
    }
    // a row cut short would read as a counter that fell
    if columns
        .iter()
        .zip(&row)
        .any(|(column, cell)| column.is_some() && cell.is_none())
    {
        return Err(clean(line));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n";
    const OF_5_10: &str = "entries  clashres found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n";
    const OF_2_6_32: &str = "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete\n";

    fn totals(text: &str) -> [Option<u64>; 4] {
        let (_, statistics) = parse(text.as_bytes()).unwrap();
        Counter::ALL.map(|counter| statistics.total(counter))
    }

    #[test]
    fn rows_of_all_processors_are_added() {
        // 6.12, recorded: 214 drops and 1786 early drops on the second processor, 900 inserts on the first
        let text = format!(
            "{MODERN}000003e8  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000384 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000000\n\
             000003e8  00000000 00000000 00000000 00000000 00000000 00000000 00000007 00000000 00000009 000000d6 000006fa 00000000  00000000 00000000 00000000 00000000\n"
        );
        assert_eq!(totals(&text), [Some(214), Some(7), Some(1786), Some(9)]);
    }

    #[test]
    fn sums_do_not_wrap_at_32_bits() {
        let row = "1 2 3 4 5 6 7 ffffffff 9 ffffffff ffffffff ffffffff d e f 10 11\n";
        assert_eq!(
            totals(&format!("{MODERN}{row}{row}")),
            [Some(2 * 0xffff_ffff); 4]
        );
    }

    #[test]
    fn kernels_before_5_15_have_no_chain_limit() {
        let row = "1 2 3 4 5 6 7 8 9 a b c d e f 10 11\n";
        assert_eq!(
            totals(&format!("{OF_5_10}{row}")),
            [Some(11), None, Some(12), Some(10)]
        );
        assert!(
            !parse(format!("{OF_5_10}{row}").as_bytes())
                .unwrap()
                .1
                .limits_chains()
        );
        assert!(
            parse(format!("{MODERN}{row}").as_bytes())
                .unwrap()
                .1
                .limits_chains()
        );
    }

    #[test]
    fn the_oldest_kernels_have_a_column_less() {
        let row = "1 2 3 4 5 6 7 8 9 a b c d e f 10\n";
        assert_eq!(
            totals(&format!("{OF_2_6_32}{row}")),
            [Some(11), None, Some(12), Some(10)]
        );
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        assert_eq!(
            totals("entries early_drop brand_new drop insert_failed chainlength\n5 1 2 3 4 6\n"),
            [Some(3), Some(6), Some(1), Some(4)]
        );
    }

    #[test]
    fn a_row_longer_than_its_header_is_read() {
        assert_eq!(
            totals("entries drop\n5 1 2 3\n"),
            [Some(1), None, None, None]
        );
    }

    #[test]
    fn a_header_without_rows_measures_nothing() {
        assert_eq!(totals(MODERN), [None; 4]);
        assert_eq!(parse(MODERN.as_bytes()).unwrap().0, None);
    }

    #[test]
    fn the_first_column_is_the_count_of_the_namespace() {
        let text = "entries drop\n000003e8 1\n000003e8 2\n";
        assert_eq!(parse(text.as_bytes()).unwrap().0, Some(1000));
        let text = "entries drop\nffffffff 1\n";
        assert_eq!(parse(text.as_bytes()).unwrap().0, Some(u32::MAX));
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        for text in [
            "",
            "\n",
            "drop\n1\n",
            "entries drop\n1 zz\n",
            "entries drop\n1\n",
            "entries drop\n1 100000000\n",
            "entries drop\n1 +1\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"entries \xff\n").is_err());
    }
}
