//! A dump from request to end, with the tests playing the kernel: every way in which its answers can end.

// the recordings come from a little-endian machine, and netlink headers have the machine's order
#![cfg(target_endian = "little")]
use std::time::{Duration, Instant};

use crate::source::datagrams::{message, messages, recorded};
use check_conntrack::model::conntrack::Entry;
use check_conntrack::model::dump::{DumpEnd, DumpSummary, Extent, Source};
use check_conntrack::model::error::ReadError;
use check_conntrack::source::netlink::conversation::{
    self, Conversation, Datagram, SEQUENCE, Silence, listen,
};
use check_conntrack::source::netlink::ct_dump::list;
use rustix::io::Errno;

const DONE: u16 = 3;
const ERROR: u16 = 2;
const NOOP: u16 = 1;
const OVERRUN: u16 = 4;
const MULTI: u16 = 2;
const DUMP_INTR: u16 = 16;

/// The next action of the kernel, or of another process.
enum Event {
    Sends(Vec<u8>),
    SendsMoreThanFits(Vec<u8>),
    SomebodyElseSends(Vec<u8>),
    Fails(Errno),
}
use Event::{Fails, Sends, SendsMoreThanFits, SomebodyElseSends};

/// Dumps to this extent out of a script; behind its end nothing ever comes.
fn dump(
    extent: impl Into<Extent>,
    script: Vec<Event>,
) -> (Result<DumpSummary, ReadError>, Vec<Entry>) {
    let mut script = script.into_iter();
    let mut entries = Vec::new();
    let source = |buffer: &mut [u8]| {
        let (bytes, from_kernel, extra) = match script.next() {
            Some(Sends(bytes)) => (bytes, true, 0),
            Some(SendsMoreThanFits(bytes)) => (bytes, true, buffer.len()),
            Some(SomebodyElseSends(bytes)) => (bytes, false, 0),
            Some(Fails(error)) => return Err(Silence::Error(error)),
            None => return Err(Silence::Deadline),
        };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(Datagram {
            length: bytes.len() + extra,
            from_kernel,
        })
    };
    let listing = list(
        extent,
        |each| listen(source, each),
        |entry| entries.push(*entry),
    );
    (listing, entries)
}

/// Two entries, beyond which all others are counted.
const TWO: Extent = Extent {
    sample: 2,
    count_on: true,
};

#[test]
fn entries_beyond_a_sample_are_counted_to_the_end_of_the_table() {
    let (got, entries) = dump(TWO, vec![Sends(three()), Sends(entry()), Sends(done())]);
    let expected = DumpSummary {
        seen: 4,
        counted: true,
        ..listing(2, DumpEnd::Sampled)
    };
    assert_eq!((got, entries.len()), (Ok(expected), 2));
    // a table that ends with the sample is whole
    let (got, _) = dump(TWO, vec![Sends(entry()), Sends(entry()), Sends(done())]);
    assert_eq!(got, Ok(listing(2, DumpEnd::Whole)));
}

#[test]
fn a_sample_is_complete_however_the_counting_beyond_it_ends() {
    for event in [None, Some(Fails(Errno::NOBUFS))] {
        let script = [Sends(three())].into_iter().chain(event).collect();
        let (got, entries) = dump(TWO, script);
        assert_eq!((got, entries.len()), (Ok(listing(2, DumpEnd::Sampled)), 2));
    }
}

fn listing(read: u64, end: DumpEnd) -> DumpSummary {
    DumpSummary::new(Source::Netlink, read, end)
}

fn failed(reason: &str) -> ReadError {
    ReadError::Netlink {
        what: "the ctnetlink dump",
        reason: reason.to_owned(),
    }
}

fn entry() -> Vec<u8> {
    recorded("tcp-established")
}

fn three() -> Vec<u8> {
    recorded("three-with-counters")
}

fn done() -> Vec<u8> {
    recorded("done")
}

fn done_with(code: i32) -> Vec<u8> {
    message(DONE, MULTI, SEQUENCE, &code.to_ne_bytes())
}

#[test]
fn a_dump_of_two_datagrams_is_whole() {
    let (got, entries) = dump(0, vec![Sends(three()), Sends(entry()), Sends(done())]);
    assert_eq!(got, Ok(listing(4, DumpEnd::Whole)));
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[3].original.source_port, 40001);
}

#[test]
fn an_empty_table_is_whole() {
    assert_eq!(
        dump(0, vec![Sends(done())]).0,
        Ok(listing(0, DumpEnd::Whole))
    );
}

#[test]
fn done_may_stand_behind_the_last_entries() {
    let both = [three(), done()].concat();
    assert_eq!(dump(0, vec![Sends(both)]).0, Ok(listing(3, DumpEnd::Whole)));
    // without a code, which some dumps leave out; a positive number is no error
    for done in [message(DONE, MULTI, SEQUENCE, &[]), done_with(20)] {
        let both = [three(), done].concat();
        assert_eq!(dump(0, vec![Sends(both)]).0, Ok(listing(3, DumpEnd::Whole)));
    }
}

#[test]
fn nothing_behind_done_is_read() {
    let more = [done(), three()].concat();
    assert_eq!(dump(0, vec![Sends(more)]).0, Ok(listing(0, DumpEnd::Whole)));
}

#[test]
fn an_error_inside_done_keeps_what_was_read() {
    let (got, entries) = dump(0, vec![Sends(three()), Sends(done_with(-12))]);
    let error = failed("Cannot allocate memory (os error 12)");
    assert_eq!(got, Ok(listing(3, DumpEnd::Failed(error))));
    assert_eq!(entries.len(), 3);
}

#[test]
fn a_refusal_for_want_of_privilege_says_which() {
    let refused = ReadError::NotPermitted {
        what: "the table",
        needs: "CAP_NET_ADMIN",
    };
    assert_eq!(refused.to_string(), "the table needs CAP_NET_ADMIN");
    assert_eq!(
        dump(0, vec![Sends(recorded("refused"))]).0,
        Err(refused.clone())
    );
    let accesses = message(ERROR, 0, SEQUENCE, &(-13_i32).to_ne_bytes());
    assert_eq!(dump(0, vec![Sends(accesses)]).0, Err(refused));
}

#[test]
fn any_other_refusal_says_what_the_kernel_said() {
    // EINVAL: no module for ctnetlink on 7.2; EBUSY: a dump is running on this socket
    for (code, reason) in [
        (-22, "Invalid argument (os error 22)"),
        (-16, "Device or resource busy (os error 16)"),
    ] {
        let refused = message(ERROR, 0, SEQUENCE, &i32::to_ne_bytes(code));
        assert_eq!(dump(0, vec![Sends(refused)]).0, Err(failed(reason)));
    }
    let done = Sends(done_with(-22));
    let reason = "Invalid argument (os error 22)";
    assert_eq!(dump(0, vec![done]).0, Err(failed(reason)));
}

#[test]
fn an_error_after_entries_keeps_them() {
    let refused = message(ERROR, 0, SEQUENCE, &(-5_i32).to_ne_bytes());
    let (got, _) = dump(0, vec![Sends(three()), Sends(refused)]);
    let error = failed("Input/output error (os error 5)");
    assert_eq!(got, Ok(listing(3, DumpEnd::Failed(error))));
}

#[test]
fn an_acknowledgement_is_not_the_end() {
    let acknowledged = message(ERROR, 0, SEQUENCE, &0_i32.to_ne_bytes());
    let noop = message(NOOP, 0, SEQUENCE, &[]);
    let script = vec![
        Sends(acknowledged),
        Sends(noop),
        Sends(entry()),
        Sends(done()),
    ];
    assert_eq!(dump(0, script).0, Ok(listing(1, DumpEnd::Whole)));
}

#[test]
fn answers_lost_for_want_of_memory_end_the_dump() {
    let reason = "No buffer space available (os error 105)";
    let (got, _) = dump(0, vec![Sends(three()), Fails(Errno::NOBUFS), Sends(done())]);
    assert_eq!(got, Ok(listing(3, DumpEnd::Failed(failed(reason)))));
    let overrun = message(OVERRUN, 0, SEQUENCE, &[]);
    let (got, _) = dump(0, vec![Sends(three()), Sends(overrun), Sends(done())]);
    assert_eq!(got, Ok(listing(3, DumpEnd::Failed(failed(reason)))));
    assert_eq!(dump(0, vec![Fails(Errno::NOBUFS)]).0, Err(failed(reason)));
}

#[test]
fn a_truncated_datagram_ends_the_dump_and_is_not_parsed() {
    let (got, entries) = dump(
        0,
        vec![Sends(entry()), SendsMoreThanFits(three()), Sends(done())],
    );
    let error = failed("an answer is longer than 32768 bytes");
    assert_eq!(got, Ok(listing(1, DumpEnd::Failed(error))));
    assert_eq!(entries.len(), 1);
}

#[test]
fn datagrams_of_other_senders_are_ignored() {
    let script = vec![
        SomebodyElseSends(three()),
        SomebodyElseSends(done()),
        Sends(entry()),
        SomebodyElseSends(vec![0xff; 7]),
        Sends(done()),
    ];
    assert_eq!(dump(0, script).0, Ok(listing(1, DumpEnd::Whole)));
}

#[test]
fn answers_to_other_requests_are_ignored() {
    let payload = messages("tcp-established").remove(0).1;
    let other = |message_type, payload: &[u8]| message(message_type, MULTI, SEQUENCE + 1, payload);
    let mixed = [
        other(0x100, &payload),
        entry(),
        other(ERROR, &(-1_i32).to_ne_bytes()),
        other(DONE, &0_i32.to_ne_bytes()),
    ];
    let script = vec![Sends(mixed.concat()), Sends(done())];
    assert_eq!(dump(0, script).0, Ok(listing(1, DumpEnd::Whole)));
}

#[test]
fn an_interrupted_dump_is_inexact_and_not_an_error() {
    let payload = messages("tcp-established").remove(0).1;
    let marked = message(0x100, MULTI | DUMP_INTR, SEQUENCE, &payload);
    let inexact = Ok(DumpSummary {
        inexact: true,
        ..listing(2, DumpEnd::Whole)
    });
    let script = vec![Sends(marked), Sends(entry()), Sends(done())];
    assert_eq!(dump(0, script).0, inexact);
    let marked = message(DONE, MULTI | DUMP_INTR, SEQUENCE, &0_i32.to_ne_bytes());
    let script = vec![Sends(entry()), Sends(entry()), Sends(marked)];
    assert_eq!(dump(0, script).0, inexact);
}

#[test]
fn when_the_time_is_up_what_was_read_counts() {
    assert_eq!(
        dump(0, vec![Sends(three())]).0,
        Ok(listing(3, DumpEnd::TimeUp))
    );
    assert_eq!(dump(0, vec![]).0, Ok(listing(0, DumpEnd::TimeUp)));
}

#[test]
fn a_sample_stops_where_it_is_full() {
    let (got, entries) = dump(2, vec![Sends(three()), Sends(three()), Sends(done())]);
    assert_eq!(got, Ok(listing(2, DumpEnd::Sampled)));
    assert_eq!(entries.len(), 2);
}

#[test]
fn a_table_of_just_as_many_entries_as_wanted_is_whole() {
    let (got, _) = dump(3, vec![Sends(three()), Sends(done())]);
    assert_eq!(got, Ok(listing(3, DumpEnd::Whole)));
}

#[test]
fn messages_that_are_not_understood_are_counted() {
    let stranger = message(0x1ff, MULTI, SEQUENCE, &[0; 20]);
    let empty = message(0x100, MULTI, SEQUENCE, &[]);
    let script = vec![Sends([stranger, entry(), empty].concat()), Sends(done())];
    let expected = DumpSummary {
        broken: 2,
        ..listing(1, DumpEnd::Whole)
    };
    assert_eq!(dump(0, script).0, Ok(expected));
}

#[test]
fn lengths_that_cannot_be_end_the_dump() {
    let with_length = |length: u32| {
        let mut bytes = entry();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        [entry(), bytes].concat()
    };
    let end = DumpEnd::Failed(failed("an answer is malformed"));
    for length in [0, 1, 15, 241, u32::MAX - 1, u32::MAX] {
        let (got, _) = dump(0, vec![Sends(with_length(length)), Sends(done())]);
        assert_eq!(got, Ok(listing(1, end.clone())), "{length}");
    }
    let tail = [entry(), vec![0; 7]].concat();
    let (got, _) = dump(0, vec![Sends(tail), Sends(done())]);
    assert_eq!(got, Ok(listing(1, end)));
}

#[test]
fn error_codes_that_cannot_be_end_the_dump() {
    for code in [i32::MIN, -4096, -65535] {
        for message_type in [ERROR, DONE] {
            let odd = message(message_type, 0, SEQUENCE, &code.to_ne_bytes());
            let (got, _) = dump(0, vec![Sends(odd)]);
            assert_eq!(got, Err(failed("an answer is malformed")), "{code}");
        }
    }
    let short = message(ERROR, 0, SEQUENCE, &[0xff; 3]);
    let got = dump(0, vec![Sends(short)]).0;
    assert_eq!(got, Err(failed("an answer is malformed")));
}

#[test]
fn the_last_message_may_come_without_its_padding() {
    let odd = message(0x155, MULTI, SEQUENCE, &[1, 2, 3, 4, 5]);
    let (got, _) = dump(0, vec![Sends([entry(), odd].concat()), Sends(done())]);
    assert_eq!(
        got.map(|listing| (listing.read, listing.broken)),
        Ok((1, 1))
    );
}

#[test]
fn a_kernel_that_does_not_answer_is_waited_for_until_the_deadline() {
    // a socket nothing was asked on stays silent
    let mut silent = Conversation::open(rustix::net::netlink::SOCK_DIAG).unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(200)] {
        let begin = Instant::now();
        let outcome = silent.receive(begin + wait, &mut |_, _| panic!("an answer"));
        assert_eq!(outcome.end, conversation::Termination::Deadline);
        let took = begin.elapsed();
        assert!(
            took >= wait && took < wait + Duration::from_secs(2),
            "{took:?}"
        );
    }
}
