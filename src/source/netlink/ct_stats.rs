//! The counters by ctnetlink, where the kernel has no file of them (built without CONFIG_NF_CONNTRACK_PROCFS).
//!
//! The kernel answers with a message for each processor it could have, as the file has a row for each
//! (`ctnetlink_ct_stat_cpu_dump` in net/netfilter/nf_conntrack_netlink.c).

use std::ops::ControlFlow;
use std::time::Instant;

use netlink_packet_core::NlasIterator;
use rustix::net::netlink::NETFILTER;

use super::conversation::{Conversation, Outcome, Termination, dump_request};
use super::ct_dump::{CTNETLINK, EVERY_FAMILY, NFGENMSG};
use crate::model::readings::{Counter, Statistics};

/// Asks for the counters, and is the type of the answers (`enum cntl_msg_types`).
const IPCTNL_MSG_CT_GET_STATS_CPU: u16 = CTNETLINK | 4;

// enum ctattr_stats_cpu
const CTA_STATS_INSERT_FAILED: u16 = 9;
const CTA_STATS_DROP: u16 = 10;
const CTA_STATS_EARLY_DROP: u16 = 11;
const CTA_STATS_CHAIN_TOOLONG: u16 = 15;

/// The request for the counters of this network namespace.
pub fn request() -> Vec<u8> {
    dump_request(IPCTNL_MSG_CT_GET_STATS_CPU, &EVERY_FAMILY)
}

/// Asks for the counters of this network namespace. `on_sent` is called once, when the request has been sent or could
/// not be: nothing after it needs privilege, and nothing before it parses. None where they were refused or are not
/// whole.
pub(in crate::source) fn read(deadline: Instant, on_sent: impl FnOnce()) -> Option<Statistics> {
    let asked = Conversation::open(NETFILTER).and_then(|conversation| {
        conversation.request(&request())?;
        Ok(conversation)
    });
    on_sent();
    let mut conversation = asked.ok()?;
    gather(|answer| conversation.receive(deadline, answer))
}

/// Makes rows of answers, whoever gives them: `receive` hands type and payload of each to its argument. None where they
/// are not whole, since a missing counter would look like one that fell.
pub fn gather(
    receive: impl FnOnce(&mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>) -> Outcome,
) -> Option<Statistics> {
    let mut rows = Some(Vec::new());
    let outcome = receive(&mut |message_type, payload| {
        let row = decode(payload).filter(|_| message_type == IPCTNL_MSG_CT_GET_STATS_CPU);
        match (&mut rows, row) {
            (Some(rows), Some(row)) => rows.push(row),
            (rows, _) => *rows = None,
        }
        ControlFlow::Continue(())
    });
    let mut rows = rows.filter(|rows| outcome.end == Termination::Done && !rows.is_empty())?;
    rows.sort_unstable_by_key(|(processor, _)| *processor);
    let processors = rows.into_iter().map(|(_, row)| row).collect();
    Some(Statistics { processors })
}

/// Decodes the counters of one processor: its number, and a value for each of [`Counter::ALL`], none where the kernel
/// sends no such attribute (CHAIN_TOOLONG before 5.15). None at all where an attribute does not fit.
pub fn decode(payload: &[u8]) -> Option<(u16, [Option<u32>; 4])> {
    let [_, _, high, low] = *payload.first_chunk()?;
    let mut row = [None; 4];
    for attribute in NlasIterator::new(payload.get(NFGENMSG..)?) {
        let attribute = attribute.ok()?;
        let counter = match attribute.kind() {
            CTA_STATS_DROP => Counter::Drop,
            CTA_STATS_CHAIN_TOOLONG => Counter::ChainTooLong,
            CTA_STATS_EARLY_DROP => Counter::EarlyDrop,
            CTA_STATS_INSERT_FAILED => Counter::InsertFailed,
            _ => continue,
        };
        let value = u32::from_be_bytes(*attribute.value().first_chunk()?);
        if let Some(cell) = row.get_mut(counter.index()) {
            *cell = Some(value);
        }
    }
    Some((u16::from_be_bytes([high, low]), row))
}
