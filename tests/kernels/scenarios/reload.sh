#!/bin/sh
# Modules that are loaded anew count from 0. That is no loss and no gain, but another first run.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
fill() {
    track
    echo 1000 >"$sysctl/nf_conntrack_max"
    ctload 1000
}
lost() { check --state-dir "$state" -c lost=0 -c entries=1000 "$@"; }

fill
lost
exits 0
flood 300
same refused "$refused" 300
pause
lost
exits 2
measures lost 300

nft flush ruleset
# rules hold their modules until the kernel has got round to freeing them
unload() { until_true "$1 to go" rmmod "$1"; }
for module in $(tac /modules/order); do unload "$module"; done
[ ! -e "$sysctl/nf_conntrack_count" ] || fail 'the modules are still there'
lost
exits 3
says 'does not track connections'
measures_no entries
lost --absent ok
exits 0
lost --absent critical
exits 2

load-modules
fill
same 'what the kernel dropped' "$(counter drop)" 0
pause
lost -v
exits 0
measures_no lost
says 'first run'
fact counters-after-a-reload 'first run'
pause
flood 200
lost
exits 2
measures lost 200
says '200 packets lost in the last'
