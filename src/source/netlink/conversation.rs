//! A netlink conversation: a request, its answers, and every way in which they can end.
//!
//! Opening and asking are apart from listening, because the kernel checks privilege only when the request arrives:
//! the caller gives up its own in between, before the first byte of an answer is parsed. Listening takes any source of
//! datagrams, so that tests can play the kernel.
//!
//! Headers are in the byte order of this machine (netlink(7)). What a protocol puts behind them has its own order.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NetlinkBuffer,
};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

use crate::model::text::clean;
use crate::source::wait::until_readable;

/// Bytes of the receive buffer. The kernel makes its datagrams as long as the longest receive so far allows, at most
/// 32 KiB (`netlink_dump` and `netlink_recvmsg` in net/netlink/af_netlink.c); a longer buffer changes nothing, one
/// below 4 KiB loses entries.
pub const BUFFER: usize = 32 * 1024;

/// The sequence number of every request: a conversation makes the next one only after the answers to the one before
/// have ended.
pub const SEQUENCE: u32 = 1;

/// The kernel's own address: port 0 and no group.
const KERNEL: (u32, u32) = (0, 0);

/// Netlink messages are padded to this many bytes (NLMSG_ALIGNTO).
const ALIGNMENT: usize = 4;

/// nlmsghdr: length, type, flags, sequence, port.
const HEADER: usize = 16;

/// The end of the answers to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// NLMSG_DONE: that was all.
    Done,
    /// NLMSG_DONE with an error inside: the kernel gave up half way.
    DoneWithError(Errno),
    /// NLMSG_ERROR: the request was refused, or the dump broke off.
    Error(Errno),
    /// poll(2) or recv(2) failed. ENOBUFS: the kernel had no memory for an answer, and answers are lost.
    Receive(Errno),
    /// A datagram was longer than the buffer, so answers are lost.
    Truncated,
    /// A length in a header, or an error code, that cannot be: nothing behind it can be trusted.
    Malformed,
    /// The time was up.
    Deadline,
    /// The receiver of the answers had enough.
    Stopped,
}

impl Termination {
    /// The error, safe to print.
    pub fn reason(self) -> String {
        match self {
            Self::Done => "it is complete".to_owned(),
            Self::DoneWithError(error) | Self::Error(error) | Self::Receive(error) => {
                clean(&error.to_string())
            }
            Self::Truncated => format!("an answer is longer than {BUFFER} bytes"),
            Self::Malformed => "an answer is malformed".to_owned(),
            Self::Deadline => "timed out".to_owned(),
            Self::Stopped => "it was stopped".to_owned(),
        }
    }
}

/// The summary of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The end of the answers.
    pub end: Termination,
    /// NLM_F_DUMP_INTR: what was dumped changed meanwhile, so answers are missing or double. ctnetlink never says so.
    pub interrupted: bool,
}

/// A datagram that stands in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Its own length in bytes, also where the buffer holds less of it (MSG_TRUNC).
    pub length: usize,
    /// True if the kernel sent it and not another process.
    pub from_kernel: bool,
}

/// The reason why there is no datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// The time was up.
    Deadline,
    /// The system's error.
    Error(Errno),
}

/// A dump request as it goes over the wire.
pub fn dump_request(message_type: u16, payload: &[u8]) -> Vec<u8> {
    let length = HEADER + payload.len();
    let mut message = vec![0; HEADER];
    let mut header = NetlinkBuffer::new(&mut message);
    header.set_length(length as u32); // a few dozen bytes
    header.set_message_type(message_type);
    header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    header.set_sequence_number(SEQUENCE);
    header.set_port_number(0);
    message.extend_from_slice(payload);
    message
}

/// A netlink socket, for one request at a time.
#[derive(Debug)]
pub struct Conversation {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Conversation {
    /// Opens a socket of a netlink protocol in this network namespace; none is the protocol number 0, NETLINK_ROUTE.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2): EPROTONOSUPPORT where the kernel does not know the protocol.
    pub fn open(protocol: impl Into<Option<Protocol>>) -> Result<Self, Errno> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol.into(),
        )?;
        // port 0 asks the kernel to choose one
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::new(),
        })
    }

    /// Sets an option of the socket.
    pub fn configure(&self, set: fn(BorrowedFd<'_>)) {
        set(self.socket.as_fd());
    }

    /// Sends the request to the kernel, which checks it, and the sender's privilege, before this returns.
    ///
    /// # Errors
    /// Those of sendto(2); a refusal comes with the answers.
    pub fn request(&self, message: &[u8]) -> Result<(), Errno> {
        let (port, groups) = KERNEL;
        let kernel = SocketAddrNetlink::new(port, groups);
        retry(|| sendto(&self.socket, message, SendFlags::empty(), &kernel)).map(drop)
    }

    /// Takes the answers until they end, at the latest at the deadline; `each` is given type and payload of each.
    pub fn receive(
        &mut self,
        deadline: Instant,
        each: &mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>,
    ) -> Outcome {
        let Self { socket, buffer } = self;
        listen_with(buffer, |buffer| datagram(socket, deadline, buffer), each)
    }
}

/// Waits for one datagram. After a failed allocation in the kernel none may ever come, hence the poll.
fn datagram(socket: &OwnedFd, deadline: Instant, buffer: &mut [u8]) -> Result<Datagram, Silence> {
    loop {
        match until_readable(socket, deadline) {
            Ok(true) => {}
            Ok(false) => return Err(Silence::Deadline),
            Err(error) => return Err(Silence::Error(error)),
        }
        // with MSG_TRUNC the length is the datagram's and not what of it found room
        return match recvfrom(socket, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length, sender)) => Ok(Datagram {
                length,
                from_kernel: sender
                    .and_then(|address| SocketAddrNetlink::try_from(address).ok())
                    .is_some_and(|address| address.pid() == KERNEL.0),
            }),
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(error) => Err(Silence::Error(error)),
        };
    }
}

/// Repeats a call as long as signals interrupt it.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Takes datagrams from a source, which writes each into the buffer it is given, until the answers to [`SEQUENCE`] end.
pub fn listen(
    source: impl FnMut(&mut [u8]) -> Result<Datagram, Silence>,
    each: impl FnMut(u16, &[u8]) -> ControlFlow<()>,
) -> Outcome {
    listen_with(&mut Vec::new(), source, each)
}

fn listen_with(
    buffer: &mut Vec<u8>,
    mut source: impl FnMut(&mut [u8]) -> Result<Datagram, Silence>,
    mut each: impl FnMut(u16, &[u8]) -> ControlFlow<()>,
) -> Outcome {
    buffer.resize(BUFFER, 0);
    let mut interrupted = false;
    loop {
        let end = match source(buffer) {
            Err(Silence::Deadline) => Some(Termination::Deadline),
            Err(Silence::Error(error)) => Some(Termination::Receive(error)),
            // anybody with CAP_NET_ADMIN may send to our port
            Ok(datagram) if !datagram.from_kernel => None,
            Ok(datagram) => match buffer.get(..datagram.length) {
                None => Some(Termination::Truncated),
                Some(bytes) => take(bytes, &mut interrupted, &mut each),
            },
        };
        if let Some(end) = end {
            return Outcome { end, interrupted };
        }
    }
}

/// Takes the messages of one datagram; an end where it holds one.
fn take(
    mut bytes: &[u8],
    interrupted: &mut bool,
    each: &mut impl FnMut(u16, &[u8]) -> ControlFlow<()>,
) -> Option<Termination> {
    while !bytes.is_empty() {
        let Some((header, payload)) = first_message(bytes) else {
            return Some(Termination::Malformed);
        };
        // the last message may come without its padding
        let next = (HEADER + payload.len()).next_multiple_of(ALIGNMENT);
        bytes = bytes.get(next..).unwrap_or_default();
        if header.sequence_number() != SEQUENCE {
            continue;
        }
        *interrupted |= header.flags() & NLM_F_DUMP_INTR != 0;
        match header.message_type() {
            NLMSG_NOOP => {}
            NLMSG_ERROR => match error_code(payload) {
                // an acknowledgement, which we do not ask for; the answers are still to come
                Some(Ok(())) => {}
                Some(Err(error)) => return Some(Termination::Error(error)),
                None => return Some(Termination::Malformed),
            },
            NLMSG_DONE => {
                // some dumps end without a code
                if payload.is_empty() {
                    return Some(Termination::Done);
                }
                return Some(match error_code(payload) {
                    Some(Ok(())) => Termination::Done,
                    Some(Err(error)) => Termination::DoneWithError(error),
                    None => Termination::Malformed,
                });
            }
            // "data lost" (include/uapi/linux/netlink.h); no kernel sends it, and it would mean what ENOBUFS means
            NLMSG_OVERRUN => return Some(Termination::Receive(Errno::NOBUFS)),
            message_type => {
                if each(message_type, payload).is_break() {
                    return Some(Termination::Stopped);
                }
            }
        }
    }
    None
}

/// The header of the first message, and the payload behind the header. None if the header is not whole, or if the length
/// in it is less than the header or more than the bytes that are there.
fn first_message(bytes: &[u8]) -> Option<(NetlinkBuffer<&[u8; HEADER]>, &[u8])> {
    // an array has a known length, so the bounds are checked once and not for each field
    let header = NetlinkBuffer::new(bytes.first_chunk::<HEADER>()?);
    let payload = bytes.get(HEADER..header.length() as usize)?;
    Some((header, payload))
}

/// The negative errno, or 0 for success, an NLMSG_ERROR or NLMSG_DONE begins with; none for what cannot be one. A
/// positive number is the length some dumps leave there.
fn error_code(payload: &[u8]) -> Option<Result<(), Errno>> {
    match i32::from_ne_bytes(*payload.first_chunk()?) {
        0.. => Some(Ok(())),
        // MAX_ERRNO in include/linux/err.h; rustix takes no other
        code @ -4095..=-1 => Some(Err(Errno::from_raw_os_error(-code))),
        _ => None,
    }
}
