#!/bin/sh
# Nothing is tracked, and yet there is a connection to another host: either no rule asks for tracking, or this is a
# namespace that nobody meant.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
ip netns add here
ip netns add there
ip link add eth0 netns here type veth peer name eth0 netns there
for host in here there; do
    ip netns exec $host ip link set lo up
    ip netns exec $host ip link set eth0 up
done
ip netns exec here ip addr add 192.0.2.1/24 dev eth0
ip netns exec there ip addr add 192.0.2.2/24 dev eth0
through='ip netns exec here'
same entries "$(ip netns exec here cat "$sysctl/nf_conntrack_count")" 0

# connections to other hosts
connections() { ip netns exec here ss -Htn state established dst 192.0.2.2 | wc -l; }
are_open() {
    connections
    [ "$(connections)" = "$1" ]
}
# await N
await() { until_true "$1 connections" are_open "$1"; }
listens() { ip netns exec there ss -Htln 'sport = 9000' | grep .; }
empty() { check --empty critical; }

empty
exits 0
measures entries 0

# an input that stays open keeps the connection open
mkfifo input
sleep 1000 >input &
input=$!
ip netns exec there nc -l -p 9000 <input >/dev/null 2>&1 &
server=$!
until_true 'a listener' listens
ip netns exec here nc 192.0.2.2 9000 <input >/dev/null 2>&1 &
client=$!
await 1
same entries "$(ip netns exec here cat "$sysctl/nf_conntrack_count")" 0
empty
exits 2
says 'if no rule has ct or nat, the kernel tracks nothing'
measures entries 0
# from files, where sock_diag would have to be loaded first
rmmod tcp_diag
empty
exits 2
says 'if no rule has ct or nat, the kernel tracks nothing'
load-modules
fact connections-beside-an-empty-table told

kill "$client" "$server" "$input"
await 0
empty
exits 0
