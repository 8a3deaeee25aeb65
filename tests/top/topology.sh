#!/bin/bash
# client - router - server, each a network namespace that tracks what passes it. Run as the root of a user, mount and
# network namespace; all of it goes away with these. Arguments, any of:
#   dnat        the router passes its port 8080 on to port 6379 of the server
#   masquerade  the server sees the router's address instead of the client's
#   redirect    the server takes its port 80 at 6379
# Addresses: client 10.1.0.2, router 10.1.0.1 and 10.2.0.1, server 10.2.0.2, likewise 2001:db8:1:: and 2001:db8:2::.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

# "ip netns add" wants to write below /run
mount -t tmpfs none /run

for name in client router server; do
    ip netns add "$name"
    # duplicate address detection would keep the link-local addresses from use for a second
    ip netns exec "$name" bash -c 'echo 0 | tee /proc/sys/net/ipv6/conf/{all,default}/accept_dad >/dev/null'
    ip -n "$name" link set lo up
    # without a rule that asks for the state the kernel makes no entries
    # Of two packets that overtook each other the late one meets a closed connection and is answered by a reset, which
    # would take the entry of the connection away before its time. No reset leaves a namespace, or reaches its table.
    ip netns exec "$name" nft -f - <<'RULES'
table inet track {
    chain no_reset { type filter hook output priority raw; tcp flags & rst == rst drop; }
    chain in { type filter hook input priority 0; ct state new accept; }
    chain forward { type filter hook forward priority 0; ct state new accept; }
    chain out { type filter hook output priority 0; ct state new accept; }
}
RULES
done

# LINK, NAME ADDRESSES..., of both ends
link() {
    ip link add "$1" netns "$2" type veth peer name "$1" netns "$3"
    shift
    local network=$3 end=2 name
    for name in "$1" "$2"; do
        [ "$name" = router ] && end=1 || end=2
        ip -n "$name" address add "10.$network.0.$end/24" dev "link$network"
        ip -n "$name" address add "2001:db8:$network::$end/64" dev "link$network" nodad
        ip -n "$name" link set "link$network" up
    done
}
link link1 client router 1
link link2 router server 2
for name in client server; do
    [ "$name" = client ] && network=1 || network=2
    ip -n "$name" route add default via "10.$network.0.1"
    ip -n "$name" route add default via "2001:db8:$network::1"
done
ip netns exec router bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'

for part in "$@"; do
    case $part in
    dnat)
        ip netns exec router nft -f - <<'RULES'
table ip to_server {
    chain in { type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.2.0.2:6379; }
}
RULES
        ;;
    masquerade)
        ip netns exec router nft -f - <<'RULES'
table ip hide {
    chain out { type nat hook postrouting priority 100; oifname "link2" masquerade; }
}
RULES
        ;;
    redirect)
        ip netns exec server nft -f - <<'RULES'
table ip to_service {
    chain in { type nat hook prerouting priority -100; tcp dport 80 redirect to :6379; }
}
RULES
        ;;
    *)
        echo "unknown: $part" >&2
        exit 2
        ;;
    esac
done
