//! Timeouts of entries.

use std::time::Duration;

/// Timeouts of entries (net.netfilter.nf_conntrack_*_timeout*), as far as they could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// nf_conntrack_tcp_timeout_time_wait.
    pub time_wait: Option<Duration>,
    /// nf_conntrack_tcp_timeout_established.
    pub established: Option<Duration>,
    /// nf_conntrack_tcp_timeout_syn_sent.
    pub syn_sent: Option<Duration>,
    /// nf_conntrack_tcp_timeout_syn_recv.
    pub syn_recv: Option<Duration>,
    /// nf_conntrack_tcp_timeout_close_wait.
    pub close_wait: Option<Duration>,
    /// nf_conntrack_udp_timeout.
    pub udp: Option<Duration>,
}

/// Timeouts of a kernel on which nobody set another (nf_conntrack_proto_tcp.c, nf_conntrack_proto_udp.c).
pub mod defaults {
    use std::time::Duration;

    /// TIME_WAIT.
    pub const TIME_WAIT: Duration = Duration::from_secs(120);
    /// ESTABLISHED: five days.
    pub const ESTABLISHED: Duration = Duration::from_secs(5 * 24 * 3600);
    /// SYN_SENT.
    pub const SYN_SENT: Duration = Duration::from_secs(120);
    /// SYN_RECV.
    pub const SYN_RECV: Duration = Duration::from_secs(60);
    /// CLOSE_WAIT.
    pub const CLOSE_WAIT: Duration = Duration::from_secs(60);
    /// UDP without a reply.
    pub const UDP: Duration = Duration::from_secs(30);
}
