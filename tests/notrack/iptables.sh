#!/bin/bash
# iptables.sh: the functions of tests/notrack/story for packaging/notrack/iptables.sh, with the iptables that $kind says.
mkdir "${d:?}/links"
: "${kind:?}"
for command in iptables ip6tables; do
    ln -s "$(command -v "$command-${kind#iptables-}")" "$d/links/$command"
done
export PATH=$d/links:$PATH FAR4=192.0.2.10 FAR6=2001:db8::10
file=${packaging:?}/iptables.sh

firewall() {
    local command hook type
    for command in iptables ip6tables; do
        for hook in INPUT OUTPUT; do
            $command -A $hook -m conntrack --ctstate INVALID -j DROP
            $command -A $hook -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        done
        $command -A INPUT -p tcp -m multiport --dports 22,5666 -m conntrack --ctstate NEW -j ACCEPT
        $command -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT
        for hook in INPUT OUTPUT; do
            $command -A $hook -p tcp -j DROP
            $command -P $hook DROP
        done
    done
    for type in neighbour-solicitation neighbour-advertisement; do
        for hook in INPUT OUTPUT; do ip6tables -I $hook -p icmpv6 --icmpv6-type $type -j ACCEPT; done
    done
    rules_now >before
}
# the rule that drops every packet of TCP has no other condition
dropped() {
    local command hook
    for command in iptables ip6tables; do
        for hook in INPUT OUTPUT; do $command -n -v -x -L $hook; done
    done | awk '$3 == "DROP" && ($4 == "tcp" || $4 == "6") && !/ctstate/ { sum += $1 } END { print sum + 0 }'
}
rules_now() {
    local command table
    for command in iptables ip6tables; do
        for table in raw filter; do $command -t $table -S; done
    done
}
rules() { "$file" start; }
rules_and_accept() { ACCEPT=yes "$file" start; }
gone() {
    "$file" stop
    rules_now >after
    diff before after
}
