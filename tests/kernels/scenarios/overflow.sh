#!/bin/sh
# A full table of entries that the kernel may not evict refuses every new connection. The next run says how many, the
# one after it nothing.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
track
echo 1000 >"$sysctl/nf_conntrack_max"
ctload 1000
same entries "$(entries)" 1000
# the table may be as full as it is: the state is then that of lost alone
lost() { check --state-dir "$state" -c lost=0 -c entries=1000; }

lost
exits 0
measures_no lost
pause

# neither the table nor the sockets are asked for by anything that would need an entry
for source in auto netlink procfs sockets; do
    check --top --source $source
    exits 2
    measures entries 1000
    case $source in sockets) measures_no established ;; *) measures established 1000 ;; esac
done
through=$as_nobody
check --top --netns all
exits 2
measures entries 1000
says 'of 1000 entries (no CAP_NET_ADMIN)'
through=
fact full-table 'every source'

before=$(counter drop)
flood 300
same refused "$refused" 300
drop=$(($(counter drop) - before))
same 'what the kernel dropped' "$drop" 300
lost
exits 2
measures lost "$drop"
says "$drop packets lost in the last"
says 'table full'
fact lost-packets counted
pause

lost
exits 0
measures lost 0
says_not 'LOSING'

# counters that have no file come over ctnetlink, and go on where those of the file were
dropped=$(counter drop)
hide_files
pause
lost
exits 0
measures lost 0
measures drop "${dropped}c"
through=
flood 20
hide_files
pause
lost
exits 2
measures lost 20
measures drop "$((dropped + 20))c"
fact lost-packets-over-ctnetlink counted
