#!/bin/sh
# The kernel does not say that its hash was resized in the middle of a dump, which then has entries twice or not at all.
# The plugin does, unless the size is what it was.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
echo 200000 >"$sysctl/nf_conntrack_max"
buckets=$sysctl/nf_conntrack_buckets
echo 65536 >"$buckets"
ctload 100000

# How far the run $pid is, as far as can be seen from outside: over ctnetlink its processor time in hundredths of a
# second, in the file its position. Without another process, which would take as long as the run.
at_netlink() {
    read -r line <"/proc/$pid/stat" || return 1
    # shellcheck disable=SC2086 # words; the name has no blank
    set -- $line
    at=$((${14} + ${15}))
}
at_procfs() {
    at=0
    for file in "/proc/$pid/fdinfo/"*; do
        { read -r _ position <"$file"; } 2>/dev/null || continue
        [ "$position" -le "$at" ] || at=$position
    done
    [ -d "/proc/$pid/fdinfo" ]
}
halt_after() { # HOW MUCH FURTHER
    "at_$source"
    until=$((at + $1))
    while [ "$at" -lt "$until" ]; do "at_$source" || fail 'the run ended before it was halted'; done
    kill -STOP "$pid"
    while [ "$(awk '{ print $3 }' "/proc/$pid/stat")" != T ]; do :; done
    [ ! -s /tmp/answer ] || fail 'the run was halted after its answer'
}
# meanwhile BUCKETS...: a run that is halted in the middle as often as there are sizes, and finds that one when it goes
# on; of several with commas between them the last
meanwhile() {
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

source=netlink sample=0 step=15
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
[ "$(value established)" -gt 100000 ] || fail 'a larger hash showed nothing twice'
fact resize-in-a-dump told
# a run that went on in between cannot tell
meanwhile 16384 65536
case $answer in
*inexact*) fact resize-and-back-in-a-dump told ;;
*) fact resize-and-back-in-a-dump 'not told' ;;
esac
[ "$(value established)" != 100000 ] || fail 'it read between the two'

# a part of it, since before 6.16 the whole would take the square of the time
source=procfs sample=10000 step=300000
meanwhile 32768,65536
says_not inexact
says 'of 10000 sampled from 100000'
meanwhile 16384
says "$resized"
says 'of 10000 sampled from 100000'
fact resize-while-the-file-is-read told
