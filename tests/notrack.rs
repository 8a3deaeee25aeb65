//! The rules of packaging/notrack: what they keep out of the table and what gets through a firewall, in namespaces this
//! test makes itself. That they let monitoring in when a table is full takes a kernel of its own:
//! tests/kernels/scenarios/notrack.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::ffi::OsStr;

use common::{needs, sh};

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
    use crate::story;

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
        let printed = crate::sh(script, &[file.as_ref()]);
        assert!(
            printed.contains("tcp dport { 5665, 5666 } notrack"),
            "{printed}"
        );
        assert!(printed.contains("counter packets 1 "), "{printed}");
    }
}

mod iptables {
    use crate::story;

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
        let said = crate::sh(
            "! env -u FAR4 -u FAR6 \"$1\" start 2>&1",
            &[script.as_ref()],
        );
        assert!(said.contains("FAR4 and FAR6 name nobody"), "{said}");
    }
}
