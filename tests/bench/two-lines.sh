#!/bin/sh
count=$(cat /proc/sys/net/netfilter/nf_conntrack_count) max=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
[ $((count * 100)) -gt $((max * 80)) ] && echo "WARNING - $count of $max" && exit 1 || echo "OK - $count of $max"
