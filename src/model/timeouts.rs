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
