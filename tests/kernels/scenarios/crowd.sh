#!/bin/sh
# Many entries: a sample of them, more than the file is read of without being asked for, and a small namespace beside
# them, whose dump would stall a processor.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
echo 200000 >"$sysctl/nf_conntrack_max"
echo 65536 >"$sysctl/nf_conntrack_buckets"
ip netns add crowd
crowd='ip netns exec crowd'
no_admin=$(without_capability net_admin)
# the guard sees a namespace by a process in it
hold crowd holder bind 7777

# ---- more than the file is read of ----------------------------------------------------------------------------------

$crowd ctload 20000
through="$crowd $no_admin"
check --top 1 --sample 100
same 'the source of 20000 entries' "$(origin)" 'from /proc/net/nf_conntrack (the table needs CAP_NET_ADMIN)'
$crowd ctload 1 first=20000
check --top 1 --sample 100
fact file-of-20001 "$(origin)"
check --top 1 --sample 100 --source procfs
says 'estimated from 100 of 20001 entries, +-'
same 'the source of 20001 entries, when it is asked for' "$(origin)" 'from /proc/net/nf_conntrack'

# ---- a sample -------------------------------------------------------------------------------------------------------

# 60000 from one address, 40000 from another
$crowd ctload 79999 first=20001
through=$crowd
same entries "$($crowd cat "$sysctl/nf_conntrack_count")" 100000
# sampled SOURCE N FAR: N of them, and no further off than FAR, which is nine times as far as two of three samples are
sampled() {
    check --top 2 --source "$1" --sample "$2" -t 100
    exits 0
    says "estimated from $2 of 100000 entries, +-"
    measures entries 100000
    measures endpoint 100000
    measures established 100000
    says '1. to 192.168.0.1:443/tcp forwarded: 100000 entries, 100.0%, ESTABLISHED 100%'
    found=$(printf '%s\n' "$answer" | sed -n 's/^2. from 10.0.0.1 forwarded: \([0-9]*\) entries, .*/\1/p')
    off=$((found - 60000))
    [ "${off#-}" -le "$3" ] || fail "$found entries are not near 60000"
}
sampled netlink 20000 3000
# before 6.16 as many would take half a minute
sampled procfs 5000 6000
fact samples near

# ---- a small namespace beside a large one ---------------------------------------------------------------------------

track
echo 600 >"$sysctl/nf_conntrack_udp_timeout"
udpflood 5 127.0.0.1
same entries "$(entries)" 5
through=
check --top
same 'the source beside 100000 entries' "$(origin)" 'over ctnetlink'
measures established 0
measures udp 5
$crowd ctload 1 first=100000
check --top
fact top-beside-100001 "$(origin)"
measures_no udp
# asked for, it is read all the same
check --top --source netlink
same 'the source when it is asked for' "$(origin)" 'over ctnetlink'
measures udp 5
through=$no_admin
check --top
same 'the source without CAP_NET_ADMIN' "$(origin)" "$(expected top-beside-100001)"
through=$as_nobody
check --top
same 'the source without privilege' "$(origin)" "$(expected top-beside-100001)"
