#!/bin/sh
# A burst that fills the table between two checks, while a recorder runs, the clock is set and the host sleeps: packets are
# lost, the table is calm again, and the next check names who it was, without privilege.
# shellcheck source=tests/kernels/guest/functions.sh
. /rig/functions.sh
track
ip address add 10.0.3.7/32 dev lo
echo 200 >"$sysctl/nf_conntrack_max"
# a connection that finds no room is tried again for as long as this takes
echo 20 >/proc/sys/net/ipv4/tcp_syn_retries
# no midnight in between
date -s '2026-11-28 02:58:00' >/dev/null

# the directories as the unit of the recorder makes them; nobody is the agent
mkdir -m 750 /run/check_conntrack /tmp/kept
chgrp nogroup /run/check_conntrack /tmp/kept
chown nobody "$state"
recording=/run/check_conntrack/recording
setpriv --regid 65534 --clear-groups check_conntrack --record 1 --state-dir /tmp/kept </dev/null &
recorder=$!
until_true 'a recording' test -s "$recording"
# the entries at the last sample
sampled() { awk '/^check / { exit } /^sample / { n = $3 } END { print n }' "$recording"; }
through=$as_nobody
lost() { check --state-dir "$state" -c lost=0; }

lost
exits 0

# start NAME ARGUMENT...: peers under that name
start() {
    name=$1
    shift
    ln -sf /files/peers "/tmp/$name"
    "/tmp/$name" "$@" >"/tmp/$name.out" 2>&1 </dev/null &
}
start redis serve 6379
redis=$!
until_true 'redis to be ready' grep ready /tmp/redis.out
begin=$(date -u +%T)
start sidekiq dial 10.0.3.7 6379 220
sidekiq=$!
full() { [ "$(entries)" -ge 200 ] && [ "$(counter drop)" -ge 2 ]; }
until_true 'a full table that drops packets of sidekiq' full
# a guest that is slow has no time for all names at the first look
looked() { grep '^holder .* sidekiq to ' "$recording" || ! cat "$recording"; }
until_true 'a look of the recorder at the full table' looked
end=$(date -u +%T)
kill "$sidekiq" "$redis"
drop=$(counter drop)

# the clock is set back and forward, each time with a sample afterwards
for by in -3600 7200; do
    clocks=$(grep -c '^clock ' "$recording")
    date -s "@$(($(date +%s) + by))" >/dev/null
    stepped() { [ "$(grep -c '^clock ' "$recording")" -gt "$clocks" ]; }
    until_true "the recorder to note that the clock was set by $by s" stepped
done
# packets of sockets that close late may make entries again
calm() { conntrack -F 2>/dev/null && n=$(sampled) && echo "$n entries" && [ "$n" -lt 100 ]; }
until_true 'a sample of the calm table' calm

# the host sleeps for 20 s (S3) while the recorder runs; an alarm of its clock wakes it
rtc=/sys/class/rtc/rtc0/wakealarm
# the time since the start of the host, with and without its sleep, in seconds
with_sleep() { cut -d . -f 1 /proc/uptime; }
without_sleep() { awk '/^now at/ { printf "%d\n", $3 / 1e9 }' /proc/timer_list; }
echo 0 >"$rtc"
echo +20 >"$rtc"
before=$(with_sleep) awake=$(without_sleep)
echo mem >/sys/power/state
slept=$(($(with_sleep) - before - $(without_sleep) + awake))
[ "$slept" -ge 10 ] || fail "the host slept for $slept s"
# the first part of the recording has its last sample, in hundredths of a second
last_sample() { awk '/^check / { exit } /^sample / { n = $2 } END { printf "%d\n", n / 100 }' "$recording"; }
after_sleep() { n=$(last_sample) && echo "$n" && [ "$n" -ge $((before + slept)) ]; }
until_true 'a sample after the sleep' after_sleep
fact suspended-while-it-records 'went on'

lost
exits 2
measures lost "$drop"
measures peak 100.0%
says "lost $drop packets between two checks (the table was full in the last "
says '), not now - peaked at 100.0% at '
says ' UTC: sidekiq to 10.0.3.7:6379/tcp held '
fact burst-between-two-checks named
file=$(echo /tmp/kept/incidents/*.txt)
says "look: cat $file ("
story=$($through cat "$file")
case $story in *'1. to 10.0.3.7:6379/tcp local: '*) ;; *) fail "the file does not list redis: $story" ;; esac

# the time of the peak is the time of day of that moment, whatever the clock says now
peak=$(printf '%s\n' "$answer" | sed -n 's/.* peaked at 100.0% at \([0-9:]*\) UTC.*/\1/p')
[ "$(printf '%s\n' "$begin" "$peak" "$end" | sort)" = "$(printf '%s\n' "$begin" "$peak" "$end")" ] \
    || fail "the peak at $peak is not between $begin and $end"
fact clock-set-while-it-records 'in order'

kill -TERM "$recorder"
wait "$recorder" || fail "the recorder ended with $?"
