#!/bin/sh
# What the kernel calls an entry, over netlink and in the file, is what it is counted as.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
first=0
add() {
    ctload "$@" first="$first"
    first=$((first + 1000))
}
add 10 state=syn_sent reply=no
add 20 state=syn_recv reply=no
add 30 state=established
add 40 state=fin_wait
add 50 state=close_wait
add 60 state=last_ack
add 70 state=time_wait
add 80 state=close
add 5 proto=udp reply=no
add 7 proto=udp
add 3 proto=icmp reply=no
same entries "$(entries)" 375

for source in netlink procfs; do
    check --top --source $source
    exits 0
    measures entries 375
    measures syn_sent 10
    measures syn_recv 20
    measures established 30
    measures fin_wait 40
    measures close_wait 50
    measures last_ack 60
    measures time_wait 70
    measures close 80
    measures udp 12
    measures icmp 3
    measures other 0
    measures unreplied 38
    measures evictable 38
done
fact states counted
