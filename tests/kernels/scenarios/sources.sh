#!/bin/sh
# One table and every way to it: over ctnetlink, from the file, from local sockets by sock_diag and from files, from
# captures, from inside and from outside of the network namespace, with and without privilege. What is no matter of the
# source is said in the same words.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh

# client - router - server. The router passes its port 8080 on to port 6379 of the server, who sees the router's address
# for all that comes over IPv4.
link() { # LINK NETWORK NAME END NAME END
    ip link add "$1" netns "$3" type veth peer name "$1" netns "$5"
    for end in "$3 $4" "$5 $6"; do
        name=${end% *}
        ip -n "$name" address add "10.$2.0.${end#* }/24" dev "$1"
        ip -n "$name" address add "2001:db8:$2::${end#* }/64" dev "$1" nodad
        ip -n "$name" link set "$1" up
    done
}
for name in client router server; do
    ip netns add $name
    ip netns exec $name sh -c 'echo 0 | tee /proc/sys/net/ipv6/conf/all/accept_dad /proc/sys/net/ipv6/conf/default/accept_dad >/dev/null
        echo 600 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout'
    ip -n $name link set lo up
    ip netns exec $name nft -f - <<'RULES'
table inet track {
    chain in { type filter hook input priority 0; ct state new accept; }
    chain forward { type filter hook forward priority 0; ct state new accept; }
    chain out { type filter hook output priority 0; ct state new accept; }
}
RULES
done
link link1 1 router 1 client 2
link link2 2 router 1 server 2
for end in 'client 1' 'server 2'; do
    ip -n "${end% *}" route add default via "10.${end#* }.0.1"
    ip -n "${end% *}" route add default via "2001:db8:${end#* }::1"
done
ip netns exec router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
ip netns exec router nft -f - <<'RULES'
table ip nat {
    chain in { type nat hook prerouting priority -100; iifname "link1" tcp dport 8080 dnat to 10.2.0.2:6379; }
    chain out { type nat hook postrouting priority 100; oifname "link2" masquerade; }
}
RULES

hold server redis serve 6379 5432 and answer 53
hold router gate serve 22 9999 and bind 7777
hold client worker dial 10.1.0.1 8080 7 and dial 2001:db8:2::2 6379 5 and tell 10.2.0.2 53 3 and dial 10.1.0.1 22 4
hold router proxy dial 10.2.0.2 5432 6 and dial 2001:db8:2::2 5432 2
proxy=$pid
hold router self dial 127.0.0.1 9999 2
self=$pid
# the groups of systemd, in either version; hybrid as it was for years
mkdir -p /tmp/unified /tmp/systemd
mount -t cgroup2 none /tmp/unified
mkdir -p /tmp/unified/system.slice/proxy.service
echo "$proxy" >/tmp/unified/system.slice/proxy.service/cgroup.procs
mount -t cgroup -o none,name=systemd none /tmp/systemd
mkdir -p /tmp/systemd/system.slice/self.service
echo "$self" >/tmp/systemd/system.slice/self.service/cgroup.procs


# ---- what there is to say -------------------------------------------------------------------------------------------

table='1. from 10.1.0.2 forwarded: 14 entries, 48.2%, ESTABLISHED 78% UDP 21%, gate (gate[PID]) 4 connections 1 thread, 10 forwarded
2. to 10.2.0.2:6379/tcp forwarded: 7 entries, 24.1%, ESTABLISHED 100%, 7 forwarded
3. to 10.2.0.2:5432/tcp: 6 entries, 20.6%, ESTABLISHED 100%, proxy.service (proxy[PID]) 6 connections 1 thread
4. from 2001:db8:1::2 forwarded: 5 entries, 17.2%, ESTABLISHED 100%, 5 forwarded
5. to [2001:db8:2::2]:6379/tcp forwarded: 5 entries, 17.2%, ESTABLISHED 100%, 5 forwarded
6. to 10.2.0.2:53/udp forwarded: 3 entries, 10.3%, UDP 100%, 3 forwarded
7. to 127.0.0.1:9999/tcp local: 2 entries, 6.8%, ESTABLISHED 100%, self.service (self[PID]) 2 connections 1 thread
8. to [2001:db8:2::2]:5432/tcp: 2 entries, 6.8%, ESTABLISHED 100%, proxy.service (proxy[PID]) 2 connections 1 thread'
sockets='1. to 10.2.0.2:5432/tcp: 6 sockets, ESTABLISHED 100%, proxy.service (proxy[PID]) 6 connections 1 thread
2. from 10.1.0.2: 4 sockets, ESTABLISHED 100%, gate (gate[PID]) 4 connections 1 thread
3. to 127.0.0.1:9999/tcp local: 4 sockets, ESTABLISHED 100%, self.service (self[PID]) 2 connections 1 thread
4. to [2001:db8:2::2]:5432/tcp: 2 sockets, ESTABLISHED 100%, proxy.service (proxy[PID]) 2 connections 1 thread'
# to whom a process belongs is for those who may look into it
of_nobody=$(echo "$sockets" | sed 's/100%, [^ ]* ([^)]*) \(.*\) 1 thread/100%, user root \1/')
# a capture has no owners
captured=$(echo "$table" | sed 's/\(%\), \(gate\|proxy\|self\|[0-9]* forwarded\).*/\1/')

inside='ip netns exec router'
top() { check --top 10 -v "$@"; }
# of_the_table WHAT: the whole answer of the router; it is in the performance data too
of_the_table() {
    exits 0
    lists "$1" "$table"
    says 'forwarded 52%, outbound 28%, inbound 14%, within this host 7%, top local services: 22/tcp 14%'
    measures entries 29
    measures endpoint 14
    measures established 26
    measures udp 3
    measures unreplied 0
    measures evictable 3
}
of_sockets() { # WHAT LIST
    exits 0
    lists "$1" "$2"
    says 'of the sockets: outbound 50%, inbound 25%, within this host 25%, top local services: 22/tcp 25%'
    measures entries 29
    measures_no endpoint
}

# ---- from inside ----------------------------------------------------------------------------------------------------

through=$inside
top
of_the_table 'the dump'
fact top-as-root "$(origin)"
fact owners both
top --source netlink
of_the_table '--source netlink'
top --source procfs
of_the_table '--source procfs'
fact top-procfs "$(origin)"
through="$inside $(without_capability net_admin)"
top
of_the_table 'without CAP_NET_ADMIN'
fact top-without-net-admin "$(origin)"
through="$inside setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +net_admin --ambient-caps +net_admin"
top
exits 0
same 'the ranking of nobody with CAP_NET_ADMIN' "$(ranking | sed 's/%, .*/%/')" "$(echo "$table" | sed 's/%, .*/%/')"
fact top-with-net-admin-alone "$(origin)"
through="$inside $as_nobody"
top
of_sockets 'as nobody' "$of_nobody"
says "16 sockets belong to other users' processes and are shown by uid"
fact top-as-nobody "$(origin)"
through=$inside
top --source sockets
of_sockets '--source sockets' "$sockets"
fact top-sockets "$(origin)"

# what the other two see of the same connections
through='ip netns exec client'
top
lists 'the client' '1. to 10.1.0.1:8080/tcp: 7 entries, 36.8%, ESTABLISHED 100%, worker (worker[PID]) 7 connections 1 thread
2. to [2001:db8:2::2]:6379/tcp: 5 entries, 26.3%, ESTABLISHED 100%, worker (worker[PID]) 5 connections 1 thread
3. to 10.1.0.1:22/tcp: 4 entries, 21.0%, ESTABLISHED 100%, worker (worker[PID]) 4 connections 1 thread
4. to 10.2.0.2:53/udp: 3 entries, 15.7%, UDP 100%, worker (worker[PID]) 3 connections 1 thread'
through='ip netns exec server'
top
lists 'the server' '1. from 10.2.0.1: 16 entries, 69.5%, ESTABLISHED 81% UDP 18%, redis (redis[PID]) 14 connections 1 thread
2. from 2001:db8:1::2: 5 entries, 21.7%, ESTABLISHED 100%, redis (redis[PID]) 5 connections 1 thread
3. from 2001:db8:2::1: 2 entries, 8.6%, ESTABLISHED 100%, redis (redis[PID]) 2 connections 1 thread'
fact translation-and-forwarding same

# ---- from outside ---------------------------------------------------------------------------------------------------

# the router has most of them
through=
top --netns all
of_the_table '--netns all'
says "in gate["
measures namespaces 4
fact netns-as-root "$(origin)"
through=$(without_capability sys_admin)
top --netns all
of_the_table '--netns all without CAP_SYS_ADMIN'
measures namespaces 4
fact netns-without-sys-admin "$(origin)"
through=$as_nobody
top --netns all
of_sockets '--netns all as nobody' "$of_nobody"
measures namespaces 4
fact netns-as-nobody "$(origin)"

# ---- captures -------------------------------------------------------------------------------------------------------

ip netns exec router conntrack -L >/tmp/listed
ip netns exec router conntrack -L -o extended >/tmp/extended
ip netns exec router cat /proc/net/nf_conntrack >/tmp/copied
for capture in listed extended copied; do
    same "lines in $capture" "$(wc -l </tmp/$capture)" 29
    through="$inside $as_nobody"
    top --table /tmp/$capture
    exits 0
    lists "$capture" "$captured"
    measures entries 29
    measures endpoint 14
    measures evictable 3
    # from elsewhere, with the addresses that it is told
    through=$as_nobody
    top --table /tmp/$capture --own 10.1.0.1,10.2.0.1,2001:db8:1::1,2001:db8:2::1
    lists "$capture elsewhere" "$captured"
    fact "capture-$capture" "$(origin)"
done

# ---- the baseline ---------------------------------------------------------------------------------------------------

through=$inside
check --state-dir "$state"
same 'baselines' "$(find "$state" -type f | wc -l)" 1
fact identity "$(sed -n 's/^namespace \([a-z]*\) .*/\1/p' "$state"/*)"

# ---- where parts of the kernel are missing --------------------------------------------------------------------------

# whatever the kernel would like to have loaded
cat >/tmp/modprobe <<'SCRIPT'
#!/bin/sh
echo "$*" >>/tmp/wanted
exit 1
SCRIPT
chmod 755 /tmp/modprobe
: >/tmp/wanted
chmod 666 /tmp/wanted
echo /tmp/modprobe >/proc/sys/kernel/modprobe
rmmod tcp_diag udp_diag
ip netns exec router ss -t >/dev/null 2>&1 || :
grep -q net-pf-16-proto-4 /tmp/wanted || fail 'ss makes the kernel ask for no module'
: >/tmp/wanted
through=$inside
top --source sockets
of_sockets 'without tcp_diag' "$sockets"
top
of_the_table 'the dump without tcp_diag'
through="$inside $as_nobody"
top
of_sockets 'without tcp_diag as nobody' "$of_nobody"
fact top-without-tcp-diag "$(origin)"
same 'what should have been loaded' "$(cat /tmp/wanted)" ''
# ss goes the same way, and would not know what to say
load-modules

# a kernel without files of the table and the counters
through=$inside
hide_files

top
of_the_table 'the dump without files'
fact top-without-files "$(origin)"
through="$inside $(without_capability net_admin) sh /tmp/hide_files"
top
of_sockets 'without files and CAP_NET_ADMIN' "$sockets"
fact top-without-files-and-net-admin "$(origin)"
through="sh /tmp/hide_files"
top --netns all
exits 3
says 'kernels built without CONFIG_NF_CONNTRACK_PROCFS do not show other network namespaces'
fact netns-without-files UNKNOWN

# a kernel without ctnetlink
until_true 'nf_conntrack_netlink to go' rmmod nf_conntrack_netlink
[ ! -e /sys/module/nf_conntrack_netlink ] || fail 'nf_conntrack_netlink is still there'
same 'what should have been loaded' "$(cat /tmp/wanted)" ''
through=$inside
top
of_the_table 'without ctnetlink'
fact top-without-ctnetlink "$(origin)"
# asked for the table, the kernel would load its own part of it
fact wanted-without-ctnetlink "$(sed 's/.* //' /tmp/wanted | sort -u)"
: >/tmp/wanted
through="$inside $as_nobody"
top
of_sockets 'without ctnetlink as nobody' "$of_nobody"
same 'what should have been loaded' "$(cat /tmp/wanted)" ''

# ---- connections that pass by the table -----------------------------------------------------------------------------

load-modules
ip netns exec router nft -f - <<'RULES'
table inet fast {
    flowtable f { hook ingress priority 0; devices = { link1, link2 }; }
    chain forward { type filter hook forward priority 1; ip protocol tcp flow add @f; ip6 nexthdr tcp flow add @f; }
}
RULES
hold client hasty dial 2001:db8:2::2 6379 3
hold client quick dial 10.2.0.2 6379 2
ip netns exec router cat /proc/net/nf_conntrack >/tmp/copied
ip netns exec router conntrack -L >/tmp/listed
same 'entries of the router' "$(wc -l </tmp/copied)" 34
same 'offloaded entries' "$(grep -c '\[OFFLOAD\]' /tmp/copied)" 5
for how in '--source netlink' '--source procfs' '--table /tmp/copied' '--table /tmp/listed'; do
    through=$inside
    # shellcheck disable=SC2086 # words
    top $how
    exits 0
    measures entries 34
    measures established 31
    measures evictable 3
    says 'to [2001:db8:2::2]:6379/tcp forwarded: 8 entries, 23.5%, ESTABLISHED 100%'
    says 'to 10.2.0.2:6379/tcp forwarded: 9 entries, 26.4%, ESTABLISHED 100%'
done
fact offloaded established
