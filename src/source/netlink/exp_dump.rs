//! The number of expectations by ctnetlink: a dump of which only the messages are counted.

use std::ops::ControlFlow;
use std::time::Instant;

use rustix::net::netlink::NETFILTER;

use super::conversation::{self, Conversation, Outcome, dump_request};
use super::ct_dump::{EVERY_FAMILY, failed, refusal};
use crate::model::error::ReadError;
use crate::model::readings::Reading;

/// NFNL_SUBSYS_CTNETLINK_EXP in the upper byte (include/uapi/linux/netfilter/nfnetlink.h).
const CTNETLINK_EXP: u16 = 2 << 8;
/// Asks for expectations (`enum ctnl_exp_msg_types`).
const IPCTNL_MSG_EXP_GET: u16 = CTNETLINK_EXP | 1;
/// An expectation.
const IPCTNL_MSG_EXP_NEW: u16 = CTNETLINK_EXP;

/// The request for the expectations of this network namespace.
pub fn request() -> Vec<u8> {
    dump_request(IPCTNL_MSG_EXP_GET, &EVERY_FAMILY)
}

/// Asks for the expectations of this network namespace and counts them. `on_sent` is called once, when the request has
/// been sent or could not be: nothing after it needs privilege, and nothing before it parses.
///
/// # Errors
/// [`ReadError::NotPermitted`] without CAP_NET_ADMIN; every end that is not the end of the dump.
pub(in crate::source) fn count(deadline: Instant, on_sent: impl FnOnce()) -> Reading<u64> {
    let asked = Conversation::open(NETFILTER).and_then(|conversation| {
        conversation.request(&request())?;
        Ok(conversation)
    });
    on_sent();
    let mut conversation = asked.map_err(refusal)?;
    tally(|answer| conversation.receive(deadline, answer))
}

/// Counts the expectations in answers, whoever gives them: `receive` hands type and payload of each to its argument.
///
/// # Errors
/// As [`ReadError::NotPermitted`] and the other failures of a dump; a part of the expectations is no number of them.
pub fn tally(
    receive: impl FnOnce(&mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>) -> Outcome,
) -> Reading<u64> {
    let mut expectations = 0;
    let outcome = receive(&mut |message_type, _| {
        expectations += u64::from(message_type == IPCTNL_MSG_EXP_NEW);
        ControlFlow::Continue(())
    });
    match outcome.end {
        conversation::Termination::Done => Ok(expectations),
        conversation::Termination::Deadline => Err(ReadError::NotReached),
        failure => Err(failed(failure)),
    }
}
