//! Local sockets from net/tcp, net/tcp6, net/udp and net/udp6 below another procfs.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use procfs::FromBufReadSI;
use procfs::LocalSystemInfo;
use procfs::net::{
    TcpNetEntries, TcpNetEntry, TcpState as SocketState, UdpNetEntries, UdpNetEntry,
};

use crate::model::conntrack::Protocol;
use crate::model::error::{FileError, ReadError};
use crate::model::socket::{LocalSocket, tcp_state};
use crate::source::file;

/// A line is 150 bytes: some hundred thousand sockets.
const LONGEST: usize = 64 << 20;

/// The part of a file that is parsed at once, in bytes.
const PIECE: usize = 64 << 10;

/// The length of a line of such a table, at most.
const LONGEST_LINE: u64 = 512;

const TCP: [&str; 2] = ["net/tcp", "net/tcp6"];
const UDP: [&str; 2] = ["net/udp", "net/udp6"];

/// Hands on every socket of the four files; a file that is missing has none.
///
/// # Errors
/// That of net/tcp, when it cannot be read.
pub(in crate::source) fn sockets(
    proc_root: &Path,
    mut each: impl FnMut(&LocalSocket),
) -> Result<(), ReadError> {
    for (index, name) in TCP.iter().enumerate() {
        let path = proc_root.join(name);
        let read = in_pieces(&path, &mut |piece| {
            let TcpNetEntries(entries) = parse(&path, piece)?;
            entries.iter().map(tcp).for_each(|socket| each(&socket));
            Ok(())
        });
        match read {
            Err(error) if index == 0 => return Err(error),
            _ => {}
        }
    }
    for name in UDP {
        // a file that is missing or broken has no more
        let path = proc_root.join(name);
        let _ = in_pieces(&path, &mut |piece| {
            let UdpNetEntries(entries) = parse(&path, piece)?;
            entries.iter().map(udp).for_each(|socket| each(&socket));
            Ok(())
        });
    }
    Ok(())
}

/// Hands on the established TCP sockets, line by line, until `each` has enough; a missing net/tcp6 has none.
///
/// # Errors
/// That of either file.
pub(in crate::source) fn established(
    proc_root: &Path,
    each: &mut dyn FnMut(&LocalSocket) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    for_each_of_tcp(proc_root, &mut |entry| {
        if entry.state == SocketState::Established {
            each(&tcp(entry))
        } else {
            ControlFlow::Continue(())
        }
    })
    .map(drop)
}

/// Hands on the TCP sockets that listen, and the unconnected UDP sockets; a file that is missing has none.
///
/// # Errors
/// That of net/tcp or net/tcp6.
pub(in crate::source) fn waiting(
    proc_root: &Path,
    each: &mut dyn FnMut(&LocalSocket),
) -> Result<(), ReadError> {
    for name in TCP {
        // the kernel lists those that listen first (`tcp_get_idx` in net/ipv4/tcp_ipv4.c)
        for_each_in(proc_root, name, &mut |entry| {
            if entry.state == SocketState::Listen {
                each(&tcp(entry));
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
        .map(drop)?;
    }
    for name in UDP {
        // a file that is missing or broken has no more
        let path = proc_root.join(name);
        let _ = in_pieces(&path, &mut |piece| {
            let UdpNetEntries(entries) = parse(&path, piece)?;
            let unconnected = entries.iter().map(udp).filter(|socket| socket.listening);
            unconnected.for_each(|socket| each(&socket));
            Ok(())
        });
    }
    Ok(())
}

/// Hands on the TCP sockets of both files, line by line, until `each` has enough.
fn for_each_of_tcp(
    proc_root: &Path,
    each: &mut dyn FnMut(&TcpNetEntry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    for name in TCP {
        if for_each_in(proc_root, name, each)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Hands on the TCP sockets of one file, line by line, until `each` has enough; a missing net/tcp6 has none.
fn for_each_in(
    proc_root: &Path,
    name: &str,
    each: &mut dyn FnMut(&TcpNetEntry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let path = proc_root.join(name);
    let failed = |error: std::io::Error| file::explain(&path, &error);
    let file = match file::open(&path).map_err(failed) {
        Err(error) if error.is_missing() && name != TCP[0] => return Ok(ControlFlow::Continue(())),
        file => file?,
    };
    let mut lines = BufReader::new(file.take(LONGEST as u64));
    let mut line = Vec::new();
    let header = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
    header.map_err(failed)?;
    loop {
        // the parser passes over the first line, which is the header
        line.clear();
        line.push(b'\n');
        let read = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let TcpNetEntries(entries) = parse(&path, &line)?;
        for entry in &entries {
            if each(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

/// Hands on a file piece by piece: hundreds of thousands of sockets at once would take as many kilobytes. Each piece is
/// whole lines, of which the first is the header or stands in its place.
fn in_pieces(
    path: &Path,
    each: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut file = file::open(path).map_err(|error| file::explain(path, &error))?;
    let mut piece = Vec::with_capacity(PIECE);
    let mut length = 0;
    loop {
        let room = PIECE.saturating_sub(piece.len()) as u64;
        let read = file.by_ref().take(room).read_to_end(&mut piece);
        let odd = |error| file::odd_kind(path, &file).unwrap_or(error);
        let read = read.map_err(|error| odd(file::explain(path, &error)))?;
        length += read;
        if length == 0 {
            return Err(odd(ReadError::file(file::shown(path), FileError::Empty)));
        }
        let last_break = piece.iter().rposition(|byte| *byte == b'\n');
        let lines = match last_break {
            _ if read == 0 => piece.len(),
            // the first line break stands in the place of the header
            Some(end @ 1..) => end + 1,
            // the next piece is the end
            _ if piece.len() < PIECE => continue,
            _ => 0,
        };
        if lines == 0 || length > LONGEST {
            let too_long = FileError::TooLong { limit: LONGEST };
            return Err(odd(ReadError::file(file::shown(path), too_long)));
        }
        each(piece.get(..lines).unwrap_or_default())?;
        if read == 0 {
            return Ok(());
        }
        // the parser passes over the first line, which is the header
        piece.drain(..lines);
        piece.insert(0, b'\n');
    }
}

fn parse<T: FromBufReadSI>(path: &Path, bytes: &[u8]) -> Result<T, ReadError> {
    T::from_buf_read(bytes, &LocalSystemInfo).map_err(|error| {
        let malformed = FileError::Malformed {
            found: crate::model::text::clean(&error.to_string()),
            expected: "a table of sockets",
        };
        ReadError::file(file::shown(path), malformed)
    })
}

fn tcp(entry: &TcpNetEntry) -> LocalSocket {
    LocalSocket {
        protocol: Protocol::TCP,
        local: entry.local_address,
        remote: entry.remote_address,
        tcp_state: tcp_state(entry.state.to_u8()),
        listening: entry.state == SocketState::Listen,
        uid: entry.uid,
        inode: entry.inode,
    }
}

fn udp(entry: &UdpNetEntry) -> LocalSocket {
    LocalSocket {
        protocol: Protocol::UDP,
        local: entry.local_address,
        remote: entry.remote_address,
        tcp_state: None,
        listening: entry.remote_address.port() == 0,
        uid: entry.uid,
        inode: entry.inode,
    }
}
