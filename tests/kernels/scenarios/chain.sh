#!/bin/sh
# From 5.15 on a table that is nearly empty loses packets too when its hash has too few buckets: every entry is in two
# chains, and where one of them is longer than 50 to 79 a new entry is refused.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
track
echo 1000000 >"$sysctl/nf_conntrack_max"
echo 512 >"$sysctl/nf_conntrack_buckets"
ctload 14000 # some of these are refused already, and counted: that is before the first run
lost() { check --state-dir "$state" -c lost=0; }

lost
measures_no lost
pause

before=$(chaintoolong)
flood 2000
long=$(($(chaintoolong) - before))
same 'what the kernel refused for its chains' "$long" "$refused"
same 'what the kernel dropped' "$(counter drop)" 0
lost
measures lost "$long"
measures drop 0c
if [ "$long" -gt 0 ]; then
    fact long-chains refused
    exits 2
    says "$long packets lost in the last"
    says 'hash chains too long'
else
    fact long-chains accepted
    same refused "$refused" 0
    exits 0
fi
# of the thresholds nobody gave
thresholds=$(printf '%s\n' "$answer" | sed -n '1s/.* chain=[^; ]*;\([0-9]*\);\([0-9]*\);.*/\1 and \2/p')
case $thresholds in ' and ') thresholds=none ;; esac
fact chain-thresholds "$thresholds"
case $(value usage) in 1.*) ;; *) fail "usage is $(value usage), of a table that should be nearly empty" ;; esac

# so do the counters that come over ctnetlink
refused_in_all=$(chaintoolong)
hide_files
check
measures drop 0c
if [ "$(value chaintoolong)" = none ]; then
    fact chaintoolong-over-ctnetlink none
else
    measures chaintoolong "${refused_in_all}c"
    fact chaintoolong-over-ctnetlink counted
fi
