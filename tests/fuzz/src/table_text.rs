//! The table as text: how many bytes each read gives, how large a sample is, and lines of a capture.

use std::io::Read;
use std::time::{Duration, Instant};

use check_conntrack::analysis::tally::{Counting, Scale};
use check_conntrack::analysis::traffic::Traffic;
use check_conntrack::model::conntrack::Entry;
use check_conntrack::model::dump::{DumpEnd, Source};
use check_conntrack::model::local_addresses::LocalAddresses;
use check_conntrack::model::prefix::{Aggregate, Prefix};
use check_conntrack::source::capture::line::{Line, parse_line};
use check_conntrack::source::capture::reader::{ReadLines, read};

use super::datagrams::same_as_line;

/// Gives so many bytes at once.
struct Slowly<'a>(&'a [u8], usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let fits = buffer.len().min(self.1);
        self.0.read(&mut buffer[..fits])
    }
}

fn lines(text: &[u8], step: usize, which: Source, sample: u64) -> (ReadLines, Vec<Entry>) {
    let deadline = Instant::now() + Duration::from_secs(3600);
    let mut entries = Vec::new();
    let lines = read(Slowly(text, step), which, sample, deadline, |entry| {
        entries.push(*entry);
    });
    (lines, entries)
}

/// Every line is an entry, blank or broken, however it comes; and what is counted adds up.
pub fn table_text(data: &[u8]) {
    let Some(([step, sample], text)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (whole, entries) = lines(text, usize::MAX, Source::Capture, 0);
    let step = usize::from(*step).max(1);
    let in_steps = lines(text, step, Source::Capture, 0);
    assert_eq!(
        in_steps,
        (whole.clone(), entries.clone()),
        "in steps of {step}"
    );

    assert_eq!(whole.listing.end, DumpEnd::Whole);
    assert_eq!(whole.listing.read, entries.len() as u64);
    assert_eq!(whole.listing.seen, whole.listing.read);
    let all = text.split_inclusive(|byte| *byte == b'\n').count() as u64;
    let told = whole.listing.seen + whole.blank + whole.listing.broken;
    assert_eq!(told, all, "{whole:?}");

    let sample = u64::from(*sample);
    for which in [Source::Capture, Source::Procfs] {
        let (part, some) = lines(text, step, which, sample);
        let expected = if sample == 0 {
            entries.len()
        } else {
            entries.len().min(sample as usize)
        };
        assert_eq!(some, entries[..expected]);
        assert_eq!(
            part.listing.end == DumpEnd::Sampled,
            expected < entries.len()
        );
        // a capture is counted to its end
        if which == Source::Capture {
            assert_eq!(part.listing.seen, whole.listing.seen);
        }
    }

    for line in text.split(|byte| *byte == b'\n') {
        if let Line::Entry(entry) = parse_line(line) {
            same_as_line(&entry);
        }
    }
    let ones_own = |text: &str| vec![Prefix::parse(text).expect("a prefix")];
    for (own, aggregate) in [
        ("192.0.2.0/24", "32,64"),
        ("::/0", "8,0"),
        ("10.0.0.1", "0,128"),
    ] {
        let own = LocalAddresses::new([], ones_own(own));
        let aggregate = Aggregate::parse(aggregate).expect("two lengths");
        for of_a_capture in [false, true] {
            adds_up(&entries, own.clone(), aggregate, of_a_capture);
        }
    }
}

/// For any entries the tally's sums are their number, and no order of theirs changes it.
fn adds_up(entries: &[Entry], own: LocalAddresses, aggregate: Aggregate, of_a_capture: bool) {
    let counted = |entries: &mut dyn Iterator<Item = &Entry>| {
        let mut counting = Counting::new(own.clone(), aggregate);
        if of_a_capture {
            counting = counting.of_a_capture();
        }
        entries.for_each(|entry| counting.add(entry));
        counting.finish()
    };
    let tally = counted(&mut entries.iter());
    let backwards = counted(&mut entries.iter().rev());

    let read = entries.len() as u64;
    assert_eq!(tally.read(), read);
    assert_eq!(tally.classes().map(|(_, n)| n).sum::<u64>(), read);
    let directions: Vec<(Traffic, u64)> = tally.directions().collect();
    assert_eq!(directions.iter().map(|(_, n)| n).sum::<u64>(), read);
    assert!(tally.unreplied() <= read && tally.evictable() <= read);
    let services = tally.dialled_ports().services(usize::MAX);
    let of_direction = |wanted| {
        directions
            .iter()
            .find(|(d, _)| *d == wanted)
            .expect("all")
            .1
    };
    let served: u64 = services.iter().map(|service| service.entries).sum();
    assert_eq!(served, of_direction(Traffic::Input));

    let top = tally.top(50);
    assert_eq!(format!("{top:?}"), format!("{:?}", backwards.top(50)));
    assert!(top.is_sorted_by(|one, next| one.entries >= next.entries));
    for endpoint in &top {
        assert!((1..=read).contains(&endpoint.entries));
        let split: u64 = endpoint.classes.iter().map(|(_, n)| n).sum();
        assert_eq!(split, endpoint.entries, "{endpoint}");
    }
    // an entry is at most once of a client and once of a destination
    let held: u64 = top.iter().map(|endpoint| endpoint.entries).sum();
    assert!(held <= read + of_direction(Traffic::Forward));
    if top.len() < 50 {
        assert_eq!(held, read + of_direction(Traffic::Forward));
    }
    for total in [read, read + 1, 1 << 32] {
        let scale = Scale { read, total };
        for count in [0, 1, read / 2, read] {
            if count <= read {
                assert!((count..=total).contains(&scale.extrapolate(count)));
            }
        }
        let seen = top.first().map_or(0, |largest| largest.entries);
        let largest = tally.largest(seen, scale);
        assert!(
            (seen..=largest.value).contains(&largest.at_least),
            "{largest:?}"
        );
        assert!(
            (largest.value..=total.max(seen)).contains(&largest.at_most),
            "{largest:?}"
        );
    }
    let attributions = tally.match_sockets(&top, std::iter::empty());
    assert_eq!(attributions.len(), top.len());
}
