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
    status=0 asked=$*
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
# The source of the entries of the last run, which the same run with -v says.
origin() {
    # shellcheck disable=SC2086 # words
    found=$($through check_conntrack $asked -v | sed -n 's/^entries read \(.*\)/\1/p')
    case $found in 'from ctnetlink') echo 'over ctnetlink' ;; *) echo "${found:-unknown}" ;; esac
}
# The list of endpoints; process ids are no part of a comparison.
list() { printf '%s\n' "$answer" | sed -n 's/^\([0-9]*\. .*\)/\1/p' | sed 's/\[[0-9]*\])/[PID])/g'; }
# The same without owners, which a capture has none of.
ranking() { list | sed 's/^\(.*%\),.*/\1/'; }
# lists WHAT LIST
lists() {
    [ "$(list)" = "$2" ] || fail "$1: the list should be
$2"
}

# A folder for what runs remember, and time enough for the next run to compare with the last one: runs closer than
# 5 s are compared with the one before.
state=/tmp/state
mkdir -m 700 "$state"
pause() { sleep 6; }

# Hides the files of the table and the counters from what runs through it, as a kernel does that is built without them.
# What is mounted in the directory of a process is there for what that process becomes.
hide_files() {
    cat >/tmp/hide_files <<'SCRIPT'
mkdir -p /tmp/net
for file in tcp tcp6 udp udp6 snmp fib_trie if_inet6 ipv6_route; do cat "/proc/$$/net/$file" >"/tmp/net/$file"; done
mount --bind /tmp/net "/proc/$$/net" && exec "$@"
SCRIPT
    through="${through:+$through }sh /tmp/hide_files"
}

# ---- privileges --------------------------------------------------------------------------------------------------------

# shellcheck disable=SC2034 # for the scenarios
as_nobody='setpriv --reuid 65534 --regid 65534 --clear-groups'
# without_capability NAME...: words of a command that runs another without these, whoever runs it
without_capability() {
    printf 'setpriv --bounding-set'
    printf ' -%s' "$1"
    shift
    [ $# -eq 0 ] || printf ',-%s' "$@"
}

# ---- the kernel -----------------------------------------------------------------------------------------------------

# What is not the same on all kernels, and that the rest is, stands in facts, nowhere else.
# expected NAME: what this kernel is held to
expected() {
    awk -F ' *[|] *' -v this="$(uname -r)" -v name="$1" '
        function newer(a, b) { # a is b or newer
            split(a, x, /[.-]/)
            split(b, y, /[.-]/)
            return x[1] + 0 > y[1] + 0 || x[1] + 0 == y[1] + 0 && x[2] + 0 >= y[2] + 0
        }
        $1 == name && newer(this, $3) { value = $4; found = 1 }
        END { if (found) print value; exit !found }' /rig/facts
}
# fact NAME VALUE: what was seen on this kernel; run collects the names
fact() {
    wanted=$(expected "$1") || fail "facts has no $1 for $(uname -r)"
    same "$1, of facts," "$2" "$wanted"
    echo "fact: $1"
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

# until_true WHAT COMMAND...: waits until the command succeeds, or fails with what it printed at last
until_true() {
    what=$1
    shift
    looks=0
    while ! said=$("$@" 2>&1); do
        looks=$((looks + 1))
        [ "$looks" -lt 600 ] || fail "waited for $what, at last: $said"
        sleep 0.1
    done
}

# hold NAMESPACE COMMAND ARGUMENTS...: peers, in that namespace and under that name, until the scenario ends; sets $pid
hold() {
    where=$1
    name=$2
    shift 2
    ln -sf /files/peers "/tmp/$name"
    ip netns exec "$where" "/tmp/$name" "$@" >"/tmp/$name.out" 2>&1 </dev/null &
    # shellcheck disable=SC2034 # for the scenarios
    pid=$!
    until_true "$name to be ready" grep ready "/tmp/$name.out"
}
