//! Raw and packet sockets from net/raw, net/raw6 and net/packet (mode 0444). What is sent over them has no TCP or UDP
//! socket.

use std::path::Path;

use crate::source::file;

/// Ten thousand sockets; no host has so many.
const LONGEST: usize = 2 << 20;

/// The place of the user id and the inode among the words of a line (`raw_sock_seq_show` in net/ipv4/raw.c).
const OF_RAW: [usize; 2] = [7, 9];
/// Those of net/packet (`packet_seq_show` in net/packet/af_packet.c).
const OF_PACKET: [usize; 2] = [7, 8];

/// The protocols of sockets that send pings and neighbour messages: they stand in the place of the port.
const ICMP: [&str; 2] = ["0001", "003A"];

/// The raw and packet sockets of a network namespace as inode and user id, without those of ICMP. A file that cannot be
/// read has none.
pub(in crate::source) fn raw_sockets(net_root: &Path) -> Vec<(u64, u32)> {
    let text = |name: &str| {
        let bytes = file::read(&net_root.join(name), LONGEST).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut sockets = parse_raw(&text("net/raw"));
    sockets.extend(parse_raw(&text("net/raw6")));
    sockets.extend(parse(&text("net/packet"), OF_PACKET));
    sockets
}

fn parse_raw(text: &str) -> Vec<(u64, u32)> {
    let is_icmp = |line: &&str| {
        let local = line.split_ascii_whitespace().nth(1);
        let protocol = local.and_then(|local| local.split_once(':'));
        protocol.is_some_and(|(_, protocol)| ICMP.contains(&protocol))
    };
    let lines = text.lines().filter(|line| !is_icmp(line));
    lines.filter_map(|line| socket(line, OF_RAW)).collect()
}

fn parse(text: &str, places: [usize; 2]) -> Vec<(u64, u32)> {
    let sockets = text.lines().filter_map(|line| socket(line, places));
    sockets.collect()
}

/// The inode and the user id in a line; none in the header.
fn socket(line: &str, [uid, inode]: [usize; 2]) -> Option<(u64, u32)> {
    let word = |place| line.split_ascii_whitespace().nth(place);
    Some((word(inode)?.parse().ok()?, word(uid)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_sockets_but_those_of_icmp_are_found() {
        // of 6.18
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n   \
            1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8001 2 0000000000000000 0\n  \
            6: 00000000:0006 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 8002 2 0000000000000000 0\n \
            255: 00000000:00FF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8003 2 0000000000000000 0\n";
        assert_eq!(parse_raw(text), [(8002, 1000), (8003, 0)]);
    }

    #[test]
    fn packet_sockets_are_found() {
        let text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
            0000000000000000 3      3    0003   2     1 0      0      9001\n";
        assert_eq!(parse(text, OF_PACKET), [(9001, 0)]);
    }

    #[test]
    fn other_text_has_no_sockets() {
        for text in [
            "",
            "x\n",
            "1: a b c d e f g h i\n",
            "0 0 0 0 0 0 0 -1 -1 -1\n",
        ] {
            assert_eq!(parse_raw(text), []);
            assert_eq!(parse(text, OF_PACKET), []);
        }
    }
}
