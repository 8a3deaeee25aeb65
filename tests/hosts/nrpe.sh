#!/bin/bash
# nrpe.sh PORT 'COMMAND LINE': runs the command line through a real NRPE daemon on loopback, as user nagios; prints what
# check_nrpe prints and exits with its status. NRPE_PKT=-2 in the environment: packets of version 2 (1023 bytes).
# Exit 99: the daemon did not come up, or not on this port; its log is on stderr.
# Needs root; on Debian: apt-get install --no-install-recommends nagios-nrpe-server nagios-nrpe-plugin
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/lib/nagios/plugins
port=$1 command=$2 daemon=
d=$(mktemp -d /tmp/check_conntrack-nrpe.XXXXXX)

# shellcheck disable=SC2317 # the trap below calls it
finish() {
    local status=$?
    trap - EXIT
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    if [ "$status" -gt 3 ]; then
        cat "$d"/out "$d"/nrpe.log >&2 || true
    fi
    rm -rf "$d"
    exit "$status"
}
trap finish EXIT
trap 'exit 98' INT TERM HUP

cat >"$d/nrpe.cfg" <<CFG
log_file=$d/nrpe.log
pid_file=$d/nrpe.pid
server_address=127.0.0.1
server_port=$port
nrpe_user=nagios
nrpe_group=nagios
allowed_hosts=127.0.0.1
command_timeout=20
command[t]=$command
CFG
chmod 755 "$d"
chown -R nagios:nagios "$d"

nrpe -c "$d/nrpe.cfg" -f -n </dev/null >"$d/out" 2>&1 &
daemon=$!
for _ in $(seq 200); do
    # its own word: something else could answer on the port
    if grep -q 'Listening for connections' "$d/nrpe.log" 2>/dev/null; then break; fi
    kill -0 "$daemon" 2>/dev/null || exit 99
    sleep 0.05
done

status=0
# without -t's :UNKNOWN a slow plugin would look like a CRITICAL one
check_nrpe -n -H 127.0.0.1 -p "$port" -t 30:UNKNOWN ${NRPE_PKT:+"$NRPE_PKT"} -c t </dev/null || status=$?
kill -0 "$daemon" 2>/dev/null || exit 99
exit "$status"
