#!/bin/sh
# A full table in one namespace of three, seen without any privilege from another.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
echo 1000 >"$sysctl/nf_conntrack_max"
# a namespace is seen by a process in it
hold() {
    ip netns add "$1"
    ip netns exec "$1" sleep 1000 </dev/null >/dev/null 2>&1 &
    holder=$!
    # ip becomes sleep once it is inside
    until_true "sleep in $1" grep -x sleep "/proc/$holder/comm"
}
hold quiet
quiet=$holder
hold full
full=$holder
ip netns exec full ctload 950
through='setpriv --reuid 65534 --regid 65534 --clear-groups'

check
exits 0
measures entries 0
check --netns all
exits 2
says "sleep[$full]"
says_not "sleep[$quiet]"
measures namespaces 3
measures usage 95.0%
measures entries 950
fact namespaces-without-privilege found
kill "$quiet" "$full"
