#!/bin/sh
# What the scenarios share; each of them reads it first.
set -eu
# shellcheck disable=SC2034 # for the scenarios
sysctl=/proc/sys/net/netfilter

fail() {
    echo "FAILED: $*"
    exit 1
}

# same WHAT GOT WANTED
same() { [ "$2" = "$3" ] || fail "$1 is $2 instead of $3"; }

# ---- the plugin -----------------------------------------------------------------------------------------------------

# The command that a run goes through, of plain words: ip netns exec, setpriv.
through=
# One run; sets $answer and $status, and prints them for whoever has to find out why a scenario failed.
check() {
    status=0
    # shellcheck disable=SC2086 # words
    answer=$($through check_conntrack "$@") || status=$?
    printf '$ %s\n%s\n= %s\n' "${through:+$through }check_conntrack $*" "$answer" "$status"
}
exits() { same 'exit status' "$status" "$1"; }
says() { case $answer in *"$1"*) ;; *) fail "it does not say: $1" ;; esac; }
says_not() { case $answer in *"$1"*) fail "it says: $1" ;; esac; }
# value LABEL: from the performance data, without thresholds
value() {
    found=$(printf '%s\n' "$answer" | sed -n '1s/.*|//p' | tr ' ' '\n' | sed -n "s/^$1=\([^;]*\).*/\1/p")
    echo "${found:-none}"
}
measures() { same "$1 in performance data" "$(value "$1")" "$2"; }
measures_no() { same "$1 in performance data" "$(value "$1")" none; }

# A folder for what runs remember, and time enough for the next run to compare with the last one: runs closer than
# 5 s are compared with the one before.
state=/tmp/state
mkdir -m 700 "$state"
pause() { sleep 6; }

# Hides the statistics file from what runs through it, as a kernel does that is built without such files. What is mounted
# in the directory of a process is there for what that process becomes.
hide_statistics() {
    cat >/tmp/hide_statistics <<'SCRIPT'
mount -t tmpfs none "/proc/$$/net" && exec "$@"
SCRIPT
    through="sh /tmp/hide_statistics"
}

# ---- the kernel -----------------------------------------------------------------------------------------------------

# since MAJOR.MINOR: whether this kernel is that or newer
since() {
    awk -v this="$(uname -r)" -v first="$1" 'BEGIN {
        split(this, a, /[.-]/)
        split(first, b, ".")
        exit !(a[1] + 0 > b[1] + 0 || a[1] + 0 == b[1] + 0 && a[2] + 0 >= b[2] + 0)
    }'
}

# Connections are tracked from the moment a rule needs it, in the namespace that has the rule.
track() {
    ip link set lo up
    nft 'add table inet t; add chain inet t o { type filter hook output priority 0; }
        add rule inet t o ct state new counter accept'
}

entries() { cat "$sysctl/nf_conntrack_count"; }

# counter COLUMN: its sum over all processors; 0 where the kernel has no such column
counter() {
    total=0
    # shellcheck disable=SC2013 # words
    for hex in $(awk -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) n = i; next }
        n { print $n }' /proc/net/stat/nf_conntrack); do
        total=$((total + 0x$hex))
    done
    echo "$total"
}
# From 5.15 on the kernel counts what it refused because of long chains, in a column with a misleading name.
chaintoolong() { counter chainlength; }

# flood N: so many new UDP flows; sets $refused
flood() {
    said=$(udpflood "$1" 127.0.0.1)
    echo "$said"
    refused=$(echo "$said" | sed -n 's/.*Operation not permitted=//p')
    refused=${refused:-0}
}
