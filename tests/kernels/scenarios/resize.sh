#!/bin/sh
# The kernel does not say that its hash was resized in the middle of a dump, which then has entries twice or not at all.
# The plugin does.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
echo 200000 >"$sysctl/nf_conntrack_max"
echo 65536 >"$sysctl/nf_conntrack_buckets"
ctload 100000
dump() { check --top --sample 0 --source netlink -t 100; }

dump
exits 0
says_not inexact
measures established 100000

# Up and down, and no number twice: a resize that ends where it began cannot be told from none. With pauses, or the
# dump would take longer than all this is worth.
(
    n=1
    while :; do
        echo $((16384 + 512 * n)) >"$sysctl/nf_conntrack_buckets"
        sleep 0.2
        echo $((65536 + 512 * n)) >"$sysctl/nf_conntrack_buckets"
        sleep 0.2
        n=$((n + 1))
    done
) &
resizing=$!
for run in 1 2 3 4 5; do
    dump
    case $answer in *inexact*) break ;; esac
done
kill "$resizing"
echo "after $run runs"
says 'inexact, the hash table was resized meanwhile'
