#!/bin/sh
# A full table keeps the monitoring server out. The rules of packaging/notrack let it in, and nobody else; behind a
# firewall that drops what it does not know they need the accept rules that stand at their end.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh

# The server 192.0.2.10 checks this host, 192.0.2.1, where the plugin answers on the port of NRPE, and somebody on that
# of ssh.
ip netns add server
ip link add link0 type veth peer name link0 netns server
ip link set lo up
for inside in '' 'ip netns exec server'; do
    [ -z "$inside" ] && end=1 || end=10
    echo 0 | $inside tee /proc/sys/net/ipv6/conf/all/accept_dad /proc/sys/net/ipv6/conf/default/accept_dad >/dev/null
    $inside ip address add "192.0.2.$end/24" dev link0
    $inside ip address add "2001:db8::$end/64" dev link0 nodad
    $inside ip link set link0 up
done
nft -f - <<'RULES'
table inet firewall {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state invalid drop
        ct state established,related accept
        iif lo accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        icmp type echo-request ct state new accept
        icmpv6 type echo-request ct state new accept
        tcp dport { 22, 5666 } ct state new accept
    }
}
RULES
nc -ll -p 5666 -e check_conntrack &
nrpe=$!
nc -ll -p 22 -e echo you are in &
ssh=$!
trap 'kill $nrpe $ssh' EXIT

# from the server: what the plugin says, or nothing
ask() { ip netns exec server timeout 5 nc "$@" </dev/null 2>&1 || true; }
# reachable HOW: over both protocols, by the plugin's answer and by ping
reachable() {
    for address in 192.0.2.1 2001:db8::1; do
        answer=$(ask "$address" 5666)
        says "$1"
        ip netns exec server ping -c 1 -W 2 "$address" >/dev/null || fail "no ping from $address"
    done
}
unreachable() {
    for address in 192.0.2.1 2001:db8::1; do
        answer=$(ask "$address" 5666)
        says_not CONNTRACK
        ! ip netns exec server ping -c 1 -W 2 "$address" >/dev/null || fail "a ping from $address"
    done
}

reachable 'CONNTRACK is OK'
conntrack -F >/dev/null 2>&1
echo 1000 >"$sysctl/nf_conntrack_max"
ctload 1000
same entries "$(entries)" 1000
before=$(counter drop)
unreachable
[ "$(counter drop)" -gt "$before" ] || fail 'the table dropped nothing'

# the rules with the addresses that stand in their comments
sed 's/# elements/elements/' /files/nftables.conf >rules
nft -f rules
before=$(counter drop)
unreachable
same 'what the table dropped, now that the firewall does' "$(counter drop)" "$before"

sed -n 's/^#   \(ip.* accept\)$/insert rule inet firewall input \1/p' /files/nftables.conf >accept
same 'the accept rules' "$(wc -l <accept)" 2
nft -f accept
reachable 'CONNTRACK is CRITICAL: 100.0% full'
same entries "$(entries)" 1000

# nobody else, no other port, and no way round by a source port
ip -n server address add 192.0.2.77/24 dev link0
ip -n server route add 192.0.2.1 dev link0 src 192.0.2.77
answer=$(ask 192.0.2.1 5666)
says_not CONNTRACK
ip -n server route delete 192.0.2.1
answer=$(ask 192.0.2.1 22)
says_not 'you are in'
answer=$(ask -p 5666 192.0.2.1 22)
says_not 'you are in'

# ssh is one line away
sed 's/^define/# &/; s/^# \(define .* 22,\)/\1/' rules >with-ssh
nft -f with-ssh
answer=$(ask 192.0.2.1 22)
says 'you are in'
reachable 'CONNTRACK is CRITICAL'

# gone as if it had never been there
nft delete table inet check_conntrack
unreachable
fact notrack-rules reachable
