#!/bin/sh
# The kernel does not say that its hash was resized in the middle of a dump, which then has entries twice or not at all.
# The plugin does, unless the size is what it was.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
echo 200000 >"$sysctl/nf_conntrack_max"
buckets=$sysctl/nf_conntrack_buckets
echo 65536 >"$buckets"
ctload 100000

# How far the run $pid is, as far as can be seen from outside, without another process that would take as long as the
# run. The processor time would not do: where the machine is busy it is charged to whoever happens to be there.
#
# Over ctnetlink: the pages it has, since it keeps 21 bytes of each entry; nothing while no dump is on its way.
at_netlink() {
    at=
    while read -r _ protocol _ _ _ _ dump _; do
        # NETLINK_NETFILTER
        if [ "$protocol $dump" = '12 1' ]; then read -r _ at _ <"/proc/$pid/statm"; fi
    done </proc/net/netlink
}
# In the file: its position.
at_procfs() {
    at=
    for file in "/proc/$pid/fdinfo/"*; do
        { read -r _ position <"$file"; } 2>/dev/null || continue
        [ "$position" -le "${at:-0}" ] || at=$position
    done
}
halt_after() { # HOW MUCH FURTHER
    from=
    while :; do
        "at_$source"
        from=${from:-$at}
        if [ -n "$at" ] && [ "$at" -ge "$((from + $1))" ]; then break; fi
        [ ! -s /tmp/answer ] || fail 'the run ended before it was halted'
    done
    kill -STOP "$pid"
    while [ "$(awk '{ print $3 }' "/proc/$pid/stat")" != T ]; do :; done
    "at_$source"
    [ -n "$at" ] || fail 'the run was halted too late'
}
# meanwhile BUCKETS...: a run that is halted in the middle as often as there are sizes, and finds that one when it goes
# on; of several with commas between them the last
meanwhile() {
    : >/tmp/answer
    check_conntrack --top 1 --sample "$sample" --source "$source" -t 200 >/tmp/answer &
    pid=$!
    for sizes in "$@"; do
        halt_after "$step"
        for size in $(echo "$sizes" | tr , ' '); do echo "$size" >"$buckets"; done
        kill -CONT "$pid"
    done
    status=0
    wait "$pid" || status=$?
    answer=$(cat /tmp/answer)
    printf '$ check_conntrack --source %s, %s buckets meanwhile\n%s\n= %s\n' "$source" "$*" "$answer" "$status"
    exits 0
}
resized='inexact, the hash table was resized meanwhile'

# a step is some 8000 entries: of two steps the second still has to begin before a smaller hash hides the rest
source=netlink sample=0 step=40
meanwhile
says_not inexact
measures established 100000
# back before the run goes on: nothing happened to it
meanwhile 32768,65536
says_not inexact
measures established 100000
meanwhile 16384
says "$resized"
[ "$(value established)" -lt 100000 ] || fail 'a smaller hash hid nothing'
meanwhile 65536
says "$resized"
# what was seen twice is more than the count, and a list is never more than that
measures established 100000
fact resize-in-a-dump told
# a run that went on in between cannot tell
meanwhile 16384 65536
case $answer in
*inexact*) fact resize-and-back-in-a-dump told ;;
*) fact resize-and-back-in-a-dump 'not told' ;;
esac
[ "$(value established)" -le 100000 ] || fail 'it lists more than the count'

# a part of it, since before 6.16 the whole would take the square of the time
source=procfs sample=10000 step=300000
meanwhile 32768,65536
says_not inexact
says 'estimated from 10000 of 100000 entries'
meanwhile 16384
says "$resized"
says 'estimated from 10000 of 100000 entries'
fact resize-while-the-file-is-read told
