//! The rules of packaging/notrack: what they keep out of the table and what gets through a firewall, in namespaces this
//! test makes itself; and that NRPE answers through a full table with them, and not without. What a limit that is
//! lowered makes of it, on every kernel: tests/kernels/scenarios/notrack.sh.

use std::ffi::OsStr;

use crate::common::{needs, sh};

/// This host, 192.0.2.1, and a server, 192.0.2.10 and 192.0.2.77, in a namespace of its own; then what the rules of
/// either kind have to do, by four functions that a test defines: `firewall` sets up one that drops what it does not
/// know, `rules` those that are tested, `rules_and_accept` with what the firewall then has to accept, `gone` removes
/// them. Nothing listens on any port: whoever is told so was let in, and the answer was let out.
const STORY: &str = r#"
# ip and iptables want to write below /run
mount -t tmpfs none /run
cd /run
ip netns add server
server='ip netns exec server'
ip link add link0 type veth peer name link0 netns server
ip link set lo up
for inside in '' "$server"; do
    [ -z "$inside" ] && end=1 || end=10
    $inside ip link set lo up
    # duplicate address detection would keep the link-local addresses from use for a second
    echo 0 | $inside tee /proc/sys/net/ipv6/conf/{all,default,link0}/accept_dad >/dev/null
    $inside ip address add "192.0.2.$end/24" dev link0
    $inside ip address add "2001:db8::$end/64" dev link0 nodad
    $inside ip link set link0 up
done
ip -n server address add 192.0.2.77/24 dev link0

# reached yes|no WHERE ADDRESS PORT: whether a connection from there, `here` or `$server`, gets an answer
reached() {
    local said got=no seconds=1 where=$2
    [ "$1" = no ] || seconds=10
    [ "$where" != here ] || where=
    said=$($where timeout $seconds bash -c ":</dev/tcp/$3/$4" 2>&1 || true)
    case $said in *refused*) got=yes ;; esac
    [ "$got" = "$1" ] || { echo "line ${BASH_LINENO[0]}: $got instead of $1: $said" && exit 1; }
}
# tracked N: connections there were since, by what tracking made of their first packet. The entries themselves are no
# measure: the kernel forgets a connection whose only answer was a reset.
meter() {
    nft -f - <<'RULES'
table inet seen
delete table inet seen
table inet seen {
    set tracked { type inet_service . inet_service; size 100; flags dynamic; }
    chain count { tcp flags & (syn | ack) == syn ct state != untracked add @tracked { tcp sport . tcp dport }; }
    chain in { type filter hook prerouting priority -150; jump count; }
    chain out { type filter hook output priority -150; jump count; }
}
RULES
}
tracked() {
    local list
    list=$(nft list set inet seen tracked | grep -oE '[0-9]+ \. [0-9]+' || true)
    [ "$(grep -c . <<<"$list")" = "$1" ] || { echo "line ${BASH_LINENO[0]}: $list" && exit 1; }
    meter
}
here4=192.0.2.1 here6=2001:db8::1

firewall
meter
for here in $here4 $here6; do
    reached yes "$server" $here 5666
    reached yes "$server" $here 22
done
reached yes here 192.0.2.10 5665
tracked 5
reached no "$server" $here4 80
meter

# untracked, and so unknown to the firewall; port 22 stays as it was
rules
for here in $here4 $here6; do
    reached no "$server" $here 5666
    reached yes "$server" $here 22
done
reached no here 192.0.2.10 5665
tracked 2

rules_and_accept
for here in $here4 $here6; do
    for port in 5665 5666; do
        reached yes "$server" $here $port
    done
done
for there in 192.0.2.10 2001:db8::10; do
    reached yes here $there 5665
done
tracked 0
# another port is neither untracked nor accepted, another address no more than it was
reached no "$server" $here4 80
tracked 1
ip -n server route add 192.0.2.1 dev link0 src 192.0.2.77
reached yes "$server" $here4 5666
reached no "$server" $here4 5665
tracked 2
ip -n server route delete 192.0.2.1 dev link0

# twice is as good as once
rules_and_accept
reached yes "$server" $here4 5666
tracked 0
gone
reached yes "$server" $here4 5666
reached no "$server" $here4 5665
tracked 2
echo done
"#;

fn story(functions: &str) {
    for (program, package) in [("conntrack", "conntrack"), ("ip", "iproute2")] {
        needs(program, package);
    }
    let whole = format!("repository=$1\n{functions}\n{STORY}");
    let inner = ["bash", "-euo", "pipefail", "-c", &whole, "notrack"].map(OsStr::new);
    let repository = OsStr::new(env!("CARGO_MANIFEST_DIR"));
    let arguments: Vec<&OsStr> = inner.into_iter().chain([repository]).collect();
    let printed = sh("exec unshare -Urnm -- \"$@\"", &arguments);
    assert_eq!(printed.lines().last(), Some("done"), "{printed}");
}

mod netns {
    use super::story;

    #[test]
    fn the_rules_of_nftables_keep_monitoring_out_of_the_table_and_nothing_else() {
        // addresses and accept rules are those that stand in the file as comments
        story(
            r#"
file=$repository/packaging/notrack/nftables.conf
firewall() {
    nft -f - <<'RULES'
table inet firewall {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state invalid drop
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        tcp dport { 22, 5666 } ct state new accept
    }
    chain output {
        type filter hook output priority 0; policy drop;
        ct state established,related,new accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
RULES
    nft list table inet firewall >before
}
rules() { sed 's/# elements/elements/' "$file" | nft -f -; }
rules_and_accept() {
    rules
    sed -n 's/^#   \(ip.*saddr.* accept\)$/\1/p' "$file" >accept
    [ "$(wc -l <accept)" = 2 ]
    sed 's/^/insert rule inet firewall input /' accept | nft -f -
    sed 's/^/insert rule inet firewall output /; s/saddr/daddr/' accept | nft -f -
}
gone() {
    nft delete table inet check_conntrack
    nft flush table inet firewall
    nft delete table inet firewall
    nft -f before
}
"#,
        );
    }

    #[test]
    fn as_it_is_shipped_it_loads_twice_and_changes_nothing() {
        let script = r#"
exec unshare -Urn -- bash -euo pipefail -c '
ip link set lo up
nft "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o ct state new"
nft -f "$1"
nft -f "$1"
nft list table inet check_conntrack
nft "add rule inet t o tcp dport 5666 ct state new counter"
! timeout 5 bash -c ": </dev/tcp/127.0.0.1/5666" 2>/dev/null
nft list table inet t
' notrack "$1"
"#;
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/notrack/nftables.conf"
        );
        let printed = crate::common::sh(script, &[file.as_ref()]);
        assert!(
            printed.contains("tcp dport { 5665, 5666 } notrack"),
            "{printed}"
        );
        assert!(printed.contains("counter packets 1 "), "{printed}");
    }
}

mod iptables {
    use super::story;

    /// With `nft` or `legacy` as the iptables of the PATH.
    fn story_with(variant: &str) {
        let commands = r#"
links=$(mktemp -d)
trap 'rm -r "$links"' EXIT
for command in iptables ip6tables; do ln -s "$(command -v $command-VARIANT)" "$links/$command"; done
export PATH=$links:$PATH FAR4=192.0.2.10 FAR6=2001:db8::10
script=$repository/packaging/notrack/iptables.sh
firewall() {
    for command in iptables ip6tables; do
        for hook in INPUT OUTPUT; do
            $command -A $hook -m conntrack --ctstate INVALID -j DROP
            $command -A $hook -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        done
        $command -A INPUT -p tcp -m multiport --dports 22,5666 -m conntrack --ctstate NEW -j ACCEPT
        $command -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT
        $command -P INPUT DROP
        $command -P OUTPUT DROP
    done
    for type in neighbour-solicitation neighbour-advertisement; do
        for hook in INPUT OUTPUT; do ip6tables -I $hook -p icmpv6 --icmpv6-type $type -j ACCEPT; done
    done
    rules_now >before
}
rules_now() {
    for command in iptables ip6tables; do
        for table in raw filter; do $command -t $table -S; done
    done
}
rules() { "$script" start; }
rules_and_accept() { ACCEPT=yes "$script" start; }
gone() {
    "$script" stop
    rules_now >after
    diff before after
}
"#;
        story(&commands.replace("VARIANT", variant));
    }

    #[test]
    fn the_rules_of_iptables_do_the_same() {
        story_with("nft");
    }

    #[test]
    fn the_rules_of_iptables_legacy_do_the_same() {
        story_with("legacy");
    }

    #[test]
    fn without_an_address_they_are_refused() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/notrack/iptables.sh");
        let said = crate::common::sh(
            "! env -u FAR4 -u FAR6 \"$1\" start 2>&1",
            &[script.as_ref()],
        );
        assert!(said.contains("FAR4 and FAR6 name nobody"), "{said}");
    }
}

/// A real NRPE, in a namespace whose table is filled up to the limit of this host: that is one number for the whole
/// kernel and not ours to lower, but each namespace is held against it by itself.
mod nrpe {
    use std::ffi::OsStr;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use crate::common::{answers, binary, needs, sh};

    const STORY: &str = r#"
root=$1 work=$2
PATH=$PATH:/usr/sbin:/usr/lib/nagios/plugins
limit=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
# memory for as many entries, 400 bytes each
[ "$limit" -gt 0 ] && [ "$limit" -le 2000000 ] || { echo "not with a limit of $limit" >&2 && exit 1; }
cc -O2 -Wall -Wextra -o "$work/ctload" "$root/tests/kernels/tools/ctload.c"
mount -t tmpfs none /run
ip netns add server
ip link add link0 type veth peer name link0 netns server
ip link set lo up
ip link set link0 up
ip address add 192.0.2.1/24 dev link0
ip -n server link set link0 up
ip -n server address add 192.0.2.10/24 dev link0
nft 'add table inet t; add chain inet t i { type filter hook input priority 0; }
    add rule inet t i ct state new counter accept'
cat >"$work/nrpe.cfg" <<CFG
log_file=$work/nrpe.log
pid_file=$work/nrpe.pid
server_address=192.0.2.1
server_port=5666
nrpe_user=nagios
nrpe_group=nagios
allowed_hosts=192.0.2.10
command_timeout=20
command[t]=$work/check_conntrack --state-dir /nonexistent
CFG
chown -R nagios: "$work"
nrpe -c "$work/nrpe.cfg" -f -n </dev/null >"$work/out" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
for _ in $(seq 200); do
    if grep -q 'Listening for connections' "$work/nrpe.log" 2>/dev/null; then break; fi
    sleep 0.05
done
ask() {
    rc=0
    ip netns exec server check_nrpe -n -H 192.0.2.1 -t "$1:UNKNOWN" -c t </dev/null || rc=$?
    echo "=$rc"
}
ask 20
# An entry of a connection that ended would be evicted from the full table within 60 s (gc_worker of
# nf_conntrack_core.c, tcp_can_early_drop), and the next connection take its place.
for _ in $(seq 200); do
    if conntrack -L 2>/dev/null | grep -q TIME_WAIT; then break; fi
    sleep 0.05
done
conntrack -F 2>/dev/null
"$work/ctload" "$limit" >/dev/null
ask 3
sed 's/# elements = { 192.0.2.10, .*/elements = { 192.0.2.10 }/' "$root/packaging/notrack/nftables.conf" | nft -f -
ask 20
nft delete table inet check_conntrack
ask 3
"#;

    #[test]
    fn a_full_table_silences_nrpe_without_the_rules_and_is_critical_with_them() {
        for (program, package) in [
            ("nft", "nftables"),
            ("cc", "gcc"),
            ("conntrack", "conntrack"),
        ] {
            needs(program, package);
        }
        let work = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .unwrap();
        // for user nagios, whatever the umask and the folder of the build
        let plugin = work.path().join("check_conntrack");
        fs::copy(binary(), &plugin).unwrap();
        fs::set_permissions(&plugin, Permissions::from_mode(0o755)).unwrap();
        let script = "exec timeout --kill-after=5 120 unshare -nm -- bash -euo pipefail -c \"$1\" story \"$2\" \"$3\"";
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).as_os_str();
        let got = answers(&sh(
            script,
            &[OsStr::new(STORY), root, work.path().as_os_str()],
        ));
        let codes: Vec<i32> = got.iter().map(|answer| answer.code).collect();
        assert_eq!(codes, [0, 3, 2, 3], "{got:#?}");
        let silence = "CHECK_NRPE STATE UNKNOWN: Socket timeout after 3 seconds.\n";
        for (answer, expected) in got.iter().zip([
            "CONNTRACK is OK: ",
            silence,
            "CONNTRACK is CRITICAL: 100.0% of the table in use (",
            silence,
        ]) {
            assert!(answer.text.starts_with(expected), "{got:#?}");
        }
    }
}
