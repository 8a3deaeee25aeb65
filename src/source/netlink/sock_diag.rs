//! Local sockets by sock_diag.
//!
//! Needs no privilege. The kernel may load the modules inet_diag, tcp_diag and udp_diag to answer, where they are not
//! part of it, as it does for ss(8).
//!
//! Addresses and ports are big endian, everything else in the byte order of this machine
//! (include/uapi/linux/inet_diag.h, net/ipv4/inet_diag.c, sock_diag(7)).

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Instant;

use rustix::net::netlink::SOCK_DIAG;

use super::attributes::{AF_INET, AF_INET6, ip_address};
use super::conversation::{Conversation, Termination, dump_request};
use crate::model::conntrack::Protocol;
use crate::model::error::ReadError;
use crate::model::socket::{LocalSocket, TCP_LISTEN, tcp_state};
use crate::model::text::clean;

/// Type of the request and of its answers (include/uapi/linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Every state from TCP_ESTABLISHED (1) to TCP_NEW_SYN_RECV (12). The one above, TCP_BOUND_INACTIVE, is none of a
/// connection: it asks for sockets that are bound and nothing else. UDP uses the numbers of ESTABLISHED and CLOSE.
pub const STATES: u32 = 0x1ffe;

/// TCP_ESTABLISHED alone: the kernel leaves the other sockets out.
const ESTABLISHED: u32 = 1 << 1;

/// TCP_LISTEN alone: the kernel passes over its hash table of connections.
const LISTENING: u32 = 1 << TCP_LISTEN;
/// TCP_CLOSE alone, the state of an unconnected socket of UDP.
const UNCONNECTED: u32 = 1 << 7;

/// Bytes of struct inet_diag_sockid.
const SOCKID: usize = 48;

/// Reads every TCP and UDP socket of this network namespace, in no order.
///
/// # Errors
/// The first of the four parts (TCP and UDP, IPv4 and IPv6) that was not read whole; the others were read all the same.
pub fn sockets(deadline: Instant, mut each: impl FnMut(&LocalSocket)) -> Result<(), ReadError> {
    let parts = [
        (Protocol::TCP, AF_INET),
        (Protocol::TCP, AF_INET6),
        (Protocol::UDP, AF_INET),
        (Protocol::UDP, AF_INET6),
    ];
    let mut each = |socket: &LocalSocket| {
        each(socket);
        ControlFlow::Continue(())
    };
    parts
        .map(|(protocol, family)| part(protocol, family, STATES, deadline, &mut each))
        .into_iter()
        .try_for_each(|part| part.map(drop))
}

/// Reads the established TCP sockets of this network namespace until `each` has enough.
///
/// # Errors
/// They were not read whole.
pub fn established(
    deadline: Instant,
    each: &mut dyn FnMut(&LocalSocket) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    for family in [AF_INET, AF_INET6] {
        let part = part(Protocol::TCP, family, ESTABLISHED, deadline, each)?;
        if part.is_break() {
            break;
        }
    }
    Ok(())
}

/// Reads the TCP sockets of this network namespace that listen, and its unconnected UDP sockets.
///
/// # Errors
/// They were not read whole.
pub fn waiting(deadline: Instant, each: &mut dyn FnMut(&LocalSocket)) -> Result<(), ReadError> {
    let mut each = |socket: &LocalSocket| {
        each(socket);
        ControlFlow::Continue(())
    };
    for (protocol, states) in [(Protocol::TCP, LISTENING), (Protocol::UDP, UNCONNECTED)] {
        for family in [AF_INET, AF_INET6] {
            part(protocol, family, states, deadline, &mut each).map(drop)?;
        }
    }
    Ok(())
}

/// The sockets of one protocol and family.
fn part(
    protocol: Protocol,
    family: u8,
    states: u32,
    deadline: Instant,
    each: &mut dyn FnMut(&LocalSocket) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let failed = |reason| ReadError::Netlink {
        what: "the sock_diag dump",
        reason,
    };
    let mut conversation = Conversation::open(SOCK_DIAG)
        .and_then(|conversation| {
            conversation.request(&request(protocol, family, states))?;
            Ok(conversation)
        })
        .map_err(|error| failed(clean(&error.to_string())))?;
    let mut broken = 0_u64;
    let outcome = conversation.receive(deadline, &mut |message_type, payload| {
        let socket = match message_type {
            SOCK_DIAG_BY_FAMILY => decode(protocol, payload),
            _ => None,
        };
        match socket {
            Some(socket) => each(&socket),
            None => {
                broken += 1;
                ControlFlow::Continue(())
            }
        }
    });
    match outcome.end {
        Termination::Stopped => Ok(ControlFlow::Break(())),
        Termination::Done if broken == 0 => Ok(ControlFlow::Continue(())),
        Termination::Done => Err(failed(format!("{broken} answers are malformed"))),
        Termination::Deadline => Err(ReadError::NotReached),
        other => Err(failed(other.reason())),
    }
}

/// struct inet_diag_req_v2 with no extension, a bit for each state, and an id that matches all.
pub fn request(protocol: Protocol, family: u8, states: u32) -> Vec<u8> {
    let mut payload = vec![family, protocol.0, 0, 0];
    payload.extend_from_slice(&states.to_ne_bytes());
    payload.extend_from_slice(&[0; SOCKID]);
    dump_request(SOCK_DIAG_BY_FAMILY, &payload)
}

/// Decodes struct inet_diag_msg; none where it is cut short or of a family that was not asked for.
///
/// Its layout: family, state, timer and retransmits of one byte each; the id with ports at 4 and 6, addresses of 16
/// bytes at 8 and 24, interface and cookie; expiry and two queues; at 64 the owner and at 68 the inode.
pub fn decode(protocol: Protocol, payload: &[u8]) -> Option<LocalSocket> {
    let [family, state] = *payload.first_chunk()?;
    let end = |port: usize, address: usize| -> Option<SocketAddr> {
        let address = ip_address(family, payload.get(address..)?)?;
        let port = u16::from_be_bytes(*payload.get(port..)?.first_chunk()?);
        // a dual-stack server's connections over IPv4 are mapped into IPv6; the table has them as IPv4
        Some(SocketAddr::new(address.to_canonical(), port))
    };
    let word =
        |at: usize| -> Option<u32> { Some(u32::from_ne_bytes(*payload.get(at..)?.first_chunk()?)) };
    let is_tcp = protocol == Protocol::TCP;
    Some(LocalSocket {
        protocol,
        local: end(4, 8)?,
        remote: end(6, 24)?,
        tcp_state: if is_tcp { tcp_state(state) } else { None },
        listening: is_tcp && state == TCP_LISTEN,
        uid: word(64)?,
        inode: u64::from(word(68)?),
    })
}
