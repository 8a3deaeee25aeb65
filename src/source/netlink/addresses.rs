//! The addresses of this host by rtnetlink: a dump of the interfaces' addresses and one of the routes in table `local`.
//!
//! Needs no privilege. A router may have a million routes in other tables. With strict checking (NETLINK_GET_STRICT_CHK,
//! from 4.20) the kernel leaves them out of the dump; older kernels ignore the table of the request and send all, as far
//! as the deadline permits (`ip_valid_fib_dump_req` in net/ipv4/fib_frontend.c, which net/ipv6/route.c uses too).

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use netlink_packet_core::NlasIterator;
use rustix::io::Errno;
use rustix::net::Protocol;

use super::attributes::ip_address;
use super::conversation::{Conversation, Termination, dump_request};
use crate::model::error::ReadError;
use crate::model::text::clean;
use crate::source::addresses::Addresses;

/// Sets NETLINK_GET_STRICT_CHK on a socket; an older kernel refuses it, which changes the cost and not the result.
pub type StrictCheck = fn(BorrowedFd<'_>);

/// NETLINK_ROUTE, whose number is 0 (include/uapi/linux/netlink.h).
const ROUTE: Option<Protocol> = None;

// types of requests and answers (include/uapi/linux/rtnetlink.h)
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

/// Bytes of struct ifaddrmsg: family, prefix length, flags and scope of one byte each, index of the interface.
const IFADDRMSG: usize = 8;
// attributes of an address (include/uapi/linux/if_addr.h)
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

/// Bytes of struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope and type of one byte
/// each, flags.
const RTMSG: usize = 12;
const RTA_DST: u16 = 1;
// enum rt_class_t
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
// types of routes
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
const RTN_ANYCAST: u8 = 4;

/// A dump is repeated while the kernel says that what it dumped changed meanwhile; the answers of all are used.
const ATTEMPTS: usize = 3;

/// Reads the addresses of this network namespace.
///
/// # Errors
/// A dump was refused or broke off. One that the deadline ended is no error, but [`Addresses::incomplete`].
pub(in crate::source) fn read(
    strict: StrictCheck,
    deadline: Instant,
) -> Result<Addresses, ReadError> {
    let mut conversation = Conversation::open(ROUTE).map_err(|error| failed(&error.to_string()))?;
    conversation.configure(strict);
    let mut found = Addresses::default();
    let parts: [(_, _, Decode); 2] = [
        (address_request(), RTM_NEWADDR, decode_address),
        (route_request(), RTM_NEWROUTE, decode_route),
    ];
    for (request, answers, decode) in parts {
        let mut each = |message_type, payload: &[u8]| match message_type {
            answer if answer == answers => decode(payload, &mut found),
            _ => None,
        };
        if !dump(&mut conversation, &request, deadline, &mut each)? {
            found.incomplete = Some(ReadError::NotReached);
            break;
        }
    }
    Ok(found)
}

/// A decoder of one answer, which adds to what was found; none if the answer is malformed.
type Decode = fn(&[u8], &mut Addresses) -> Option<()>;

/// Sends one request and takes its answers; false if the deadline ended them.
fn dump(
    conversation: &mut Conversation,
    request: &[u8],
    deadline: Instant,
    each: &mut dyn FnMut(u16, &[u8]) -> Option<()>,
) -> Result<bool, ReadError> {
    for _ in 0..ATTEMPTS {
        conversation
            .request(request)
            .map_err(|error| failed(&error.to_string()))?;
        let outcome = conversation.receive(deadline, &mut |message_type, payload| match each(
            message_type,
            payload,
        ) {
            Some(()) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        });
        match outcome.end {
            Termination::Done if outcome.interrupted => {}
            // a namespace without any address has no table `local`
            Termination::Done
            | Termination::Error(Errno::NOENT)
            | Termination::DoneWithError(Errno::NOENT) => break,
            Termination::Deadline => return Ok(false),
            Termination::Stopped => return Err(failed(&Termination::Malformed.reason())),
            other => return Err(failed(&other.reason())),
        }
    }
    Ok(true)
}

fn failed(reason: &str) -> ReadError {
    ReadError::Netlink {
        what: "the dump of this host's addresses",
        reason: clean(reason),
    }
}

/// The request for the addresses of all interfaces, in both families.
pub fn address_request() -> Vec<u8> {
    dump_request(RTM_GETADDR, &[0; IFADDRMSG])
}

/// The request for the routes of table `local`, in both families.
pub fn route_request() -> Vec<u8> {
    let mut payload = [0; RTMSG];
    let [_family, _to, _from, _tos, table, ..] = &mut payload;
    *table = RT_TABLE_LOCAL;
    dump_request(RTM_GETROUTE, &payload)
}

/// Adds the address of an interface, and the broadcast addresses that come with it. An address of another family is
/// passed over; none if the answer is malformed.
pub fn decode_address(payload: &[u8], found: &mut Addresses) -> Option<()> {
    let [family, length] = *payload.first_chunk()?;
    let (mut address, mut local) = (None, None);
    for attribute in NlasIterator::new(payload.get(IFADDRMSG..)?) {
        let attribute = attribute.ok()?;
        let ip = || ip_address(family, attribute.value());
        match attribute.kind() {
            IFA_ADDRESS => address = ip(),
            IFA_LOCAL => local = ip(),
            IFA_BROADCAST => found.received.extend(ip()),
            _ => {}
        }
    }
    // of two ends of a point-to-point link IFA_ADDRESS is the other one
    let own = local.or(address);
    found.own.extend(own);
    if let Some(IpAddr::V4(own)) = own {
        // the kernel takes the last address of a network of more than two for a broadcast address, whether it was
        // configured or not (`fib_add_ifaddr` in net/ipv4/fib_frontend.c); of a VRF it has no route in table `local`
        let host_bits = 32_u32
            .checked_sub(u32::from(length))
            .filter(|bits| *bits > 1);
        let last = host_bits.map(|bits| own.to_bits() | u32::MAX >> (32 - bits));
        found
            .received
            .extend(last.map(|bits| IpAddr::V4(bits.into())));
    }
    Some(())
}

/// Adds the destination of a local, broadcast or anycast route of table `local`. Others are passed over; none if the
/// answer is malformed.
pub fn decode_route(payload: &[u8], found: &mut Addresses) -> Option<()> {
    let [
        family,
        length,
        from_length,
        _tos,
        table,
        _protocol,
        _scope,
        kind,
    ] = *payload.first_chunk()?;
    // a kernel without tables for rules has the local routes of IPv6 in `main` (CONFIG_IPV6_MULTIPLE_TABLES)
    let counts = matches!(table, RT_TABLE_LOCAL | RT_TABLE_MAIN) && from_length == 0 && length > 0;
    if !counts || !matches!(kind, RTN_LOCAL | RTN_BROADCAST | RTN_ANYCAST) {
        return Some(());
    }
    let mut to = None;
    for attribute in NlasIterator::new(payload.get(RTMSG..)?) {
        let attribute = attribute.ok()?;
        if attribute.kind() == RTA_DST {
            to = ip_address(family, attribute.value());
        }
    }
    let Some(to) = to else {
        return Some(());
    };
    found.add_route(to, length, kind == RTN_LOCAL);
    Some(())
}
