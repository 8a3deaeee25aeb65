//! The kernel's settings for entries of UDP.

use std::ops::RangeInclusive;

/// Settings of the kernel for UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSettings {
    /// net.ipv4.ip_local_port_range: the ports that the kernel chooses from.
    pub ephemeral: RangeInclusive<u16>,
    /// nf_conntrack_udp_timeout, seconds.
    pub timeout: Option<u16>,
    /// nf_conntrack_udp_timeout_stream, seconds.
    pub timeout_stream: Option<u16>,
}

impl Default for UdpSettings {
    /// The kernel's own range of ports, and no timeouts.
    fn default() -> Self {
        Self {
            ephemeral: 32_768..=60_999,
            timeout: None,
            timeout_stream: None,
        }
    }
}

impl UdpSettings {
    /// Seconds that an entry has seen no packet, at least; 0 if that is not known. A packet starts the timeout anew, of
    /// which `left` seconds are left, rounded down.
    pub fn silent(&self, left: u16, unreplied: bool) -> u16 {
        let timeout = match (self.timeout, self.timeout_stream) {
            (Some(timeout), _) if unreplied || left <= timeout => timeout,
            (Some(_), Some(stream)) => stream,
            _ => return 0,
        };
        timeout.saturating_sub(left).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_the_last_packet_is_never_overestimated() {
        let settings = UdpSettings {
            timeout: Some(30),
            timeout_stream: Some(120),
            ..UdpSettings::default()
        };
        // (seconds left, unreplied, silent)
        for (left, unreplied, silent) in [
            (29, true, 0),
            (28, true, 1),
            (0, true, 29),
            (30, true, 0),
            // a rule of its own gave it longer
            (600, true, 0),
            (119, false, 0),
            (100, false, 19),
            // of either timeout: the shorter one
            (20, false, 9),
            (u16::MAX, false, 0),
        ] {
            assert_eq!(
                settings.silent(left, unreplied),
                silent,
                "{left} {unreplied}"
            );
        }
        assert_eq!(UdpSettings::default().silent(1, true), 0);
    }
}
