#!/bin/sh
# iptables.sh start|stop: monitoring that survives a full connection tracking table, for iptables and ip6tables.
# Environment, or edit the lines below:
#   FAR4, FAR6   the far ends, addresses or networks separated by blanks
#   PORTS        NRPE 5666, Icinga 2 5665; with 22 you can still log in by ssh from the far ends
#   ACCEPT=yes   also accepts this traffic in INPUT and OUTPUT, before every other rule
#
# A full table drops the first packet of every new connection, that of the monitoring server too, and its pings: the
# check that would tell you is itself unreachable. These rules keep that traffic out of the table. docs/runbook.md tells
# when it is worth it.
#
# What it costs: an untracked packet has no state. "--ctstate ESTABLISHED", "RELATED" and "NEW" do not match it, so a
# firewall with a policy of DROP has to accept both directions by address, which ACCEPT=yes does. There is no NAT for it
# and no conntrack helper: it does not work for connections that this host translates, such as a published port of a
# container. And whoever can send with one of these addresses reaches these ports with any packet, not only with those
# of a real connection: so name few addresses, not 0.0.0.0/0.
#
# Load it only where connections are tracked, and at every boot, before or after the firewall. With ACCEPT=yes it has to
# run after whatever replaces INPUT and OUTPUT. Running it again replaces its rules.
set -eu

# on a monitored host its monitoring servers, on a monitoring server the hosts it checks; as in
# FAR4='192.0.2.10 192.0.2.11' FAR6='2001:db8::10 2001:db8::11'
FAR4=${FAR4:-}
FAR6=${FAR6:-}
PORTS=${PORTS:-5665,5666}
# PORTS=${PORTS:-22,5665,5666}
ACCEPT=${ACCEPT:-no}

chain=CHECK_CONNTRACK

# add IPTABLES ADDRESSES ICMP
add() {
    t="$1 -w -t raw"
    $t -N $chain
    $t -A $chain -p tcp -m multiport --dports "$PORTS" -j CT --notrack
    # What comes from one of these ports is an answer, so a packet that opens a connection is left to the table: nobody
    # gets to other ports this way.
    $t -A $chain -p tcp -m multiport --sports "$PORTS" -m tcp ! --tcp-flags SYN,ACK SYN -j CT --notrack
    # the host check: a host that does not answer pings is reported as down, and its services then not at all
    for type in echo-request echo-reply; do
        $t -A $chain -p "$3" "--$3-type" $type -j CT --notrack
    done
    for address in $2; do
        $t -I PREROUTING -s "$address" -j $chain
        $t -I OUTPUT -d "$address" -j $chain
    done
    [ "$ACCEPT" = yes ] || return 0
    t="$1 -w"
    $t -N $chain
    # what the rules above left out of the table, and nothing else
    $t -A $chain -m conntrack --ctstate UNTRACKED -j ACCEPT
    for address in $2; do
        $t -I INPUT -s "$address" -j $chain
        $t -I OUTPUT -d "$address" -j $chain
    done
}

# remove IPTABLES: whatever addresses it was started with
remove() {
    command -v "$1" >/dev/null || return 0
    for table in raw filter; do
        # saved rules are words without blanks or quotes, as long as they are ours
        # shellcheck disable=SC2086 # words
        "$1" -w -t $table -S | sed -n "s/^-A\(.* -j $chain\)$/-D\1/p" | while read -r rule; do
            "$1" -w -t $table $rule
        done
        if "$1" -w -t $table -S $chain >/dev/null 2>&1; then
            "$1" -w -t $table -F $chain
            "$1" -w -t $table -X $chain
        fi
    done
}

case ${1:-} in
start)
    if [ -z "$FAR4$FAR6" ]; then
        echo "iptables.sh: FAR4 and FAR6 name nobody, see the head of this file" >&2
        exit 1
    fi
    remove iptables
    remove ip6tables
    [ -z "$FAR4" ] || add iptables "$FAR4" icmp
    [ -z "$FAR6" ] || add ip6tables "$FAR6" icmpv6
    ;;
stop)
    remove iptables
    remove ip6tables
    ;;
*)
    echo "usage: iptables.sh start|stop" >&2
    exit 2
    ;;
esac
