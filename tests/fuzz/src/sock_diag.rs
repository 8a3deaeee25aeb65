//! Answers of sock_diag: datagrams as in `datagrams.rs`, behind a byte that chooses the protocol.

use std::net::IpAddr;
use std::ops::ControlFlow;

use check_conntrack::model::conntrack::Protocol;
use check_conntrack::source::netlink::sock_diag::decode;

use super::datagrams::play;

/// Every answer is a socket whose two ends are comparable with those of an entry, or none.
pub fn sock_diag(data: &[u8]) {
    let Some((protocol, data)) = data.split_first() else {
        return;
    };
    let protocol = match protocol {
        0 => Protocol::UDP,
        _ => Protocol::TCP,
    };
    let one = |payload: &[u8]| {
        let Some(socket) = decode(protocol, payload) else {
            // all that struct inet_diag_msg has, and one of the families that were asked for
            assert!(
                payload.len() < 72 || !matches!(payload[0], 2 | 10),
                "{payload:?}"
            );
            return;
        };
        assert!(payload.len() >= 72);
        assert_eq!(
            decode(protocol, &payload[..72]),
            Some(socket),
            "what follows is not ours"
        );
        for address in [socket.local.ip(), socket.remote.ip()] {
            assert_eq!(address, address.to_canonical());
            assert!(payload[0] == 10 || matches!(address, IpAddr::V4(_)));
        }
        assert!(protocol == Protocol::TCP || (socket.tcp_state.is_none() && !socket.listening));
        assert!(!socket.listening || socket.tcp_state.is_none());
        let swapped = check_conntrack::model::socket::LocalSocket {
            local: socket.remote,
            remote: socket.local,
            ..socket
        };
        assert_eq!(swapped.sides(), socket.sides(), "both ends in no order");
    };
    play(data, |_, payload| {
        one(payload);
        ControlFlow::Continue(())
    });
    one(data);
}
