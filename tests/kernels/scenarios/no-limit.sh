#!/bin/sh
# nf_conntrack_max of 0 is no limit, and a negative one that 5.10 may accept neither. Later kernels refuse both.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
max=$sysctl/nf_conntrack_max
before=$(cat "$max")

# limit N: whether the kernel accepts it
limit() {
    echo "$before" >"$max"
    # a builtin's error is no reason to leave
    (echo "$1" >"$max") 2>/dev/null || return 1
}

# What is asked of a table without a limit: no share of it is in use, and it never fills up.
unlimited() {
    same 'the limit' "$(cat "$max")" "$1"
    ctload 100 first="$2"
    check
    exits 0
    says 'no limit'
    measures entries "$(entries)"
    measures_no usage
    check --state-dir "$state" -w usage=1 -c full_in=24h:
    exits 0
}

if limit 0; then
    fact limit-of-0 'no limit'
    unlimited 0 0
    pause
    unlimited 0 100
else
    fact limit-of-0 refused
    same 'the limit' "$(cat "$max")" "$before"
    check
    exits 0
    says_not 'no limit'
fi
if limit -1; then
    fact limit-of-minus-1 'no limit'
    pause
    unlimited -1 200
else
    fact limit-of-minus-1 refused
    same 'the limit' "$(cat "$max")" "$before"
fi
