#!/bin/bash
# nrpe.sh PORT 'COMMAND LINE': runs the command line through a real NRPE daemon on loopback, as user nagios; prints what
# check_nrpe prints and exits with its status. NRPE_PKT=-2 in the environment: packets of version 2 (1023 bytes).
# nrpe.sh PORT FILE PROGRAM [ARGUMENT]...: the daemon has the commands of FILE instead, and none takes an argument from
# the network; runs the program, which finds check_nrpe on its PATH, and exits as it does. NRPE_TLS=1 in the
# environment: encrypted, as is the default of both sides; without it they need -n.
# Exit 99: the daemon did not come up, or not on this port; its log is on stderr.
# Needs root; on Debian: apt-get install --no-install-recommends nagios-nrpe-server nagios-nrpe-plugin
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/lib/nagios/plugins
port=$1 given=$2 daemon=
shift 2
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
dont_blame_nrpe=0
include=$d/commands.cfg
CFG
if [ $# -gt 0 ]; then
    cp "$given" "$d/commands.cfg"
else
    echo "command[t]=$given" >"$d/commands.cfg"
    # without -t's :UNKNOWN a slow plugin would look like a CRITICAL one
    set -- check_nrpe -n -H 127.0.0.1 -p "$port" -t 30:UNKNOWN ${NRPE_PKT:+"$NRPE_PKT"} -c t
fi
chmod 755 "$d"
chown -R nagios:nagios "$d"

plain=(-n)
if [ -n "${NRPE_TLS:-}" ]; then plain=(); fi
nrpe -c "$d/nrpe.cfg" -f "${plain[@]}" </dev/null >"$d/out" 2>&1 &
daemon=$!
for _ in $(seq 200); do
    # its own word: something else could answer on the port
    if grep -q 'Listening for connections' "$d/nrpe.log" 2>/dev/null; then break; fi
    kill -0 "$daemon" 2>/dev/null || exit 99
    sleep 0.05
done

status=0
"$@" </dev/null || status=$?
kill -0 "$daemon" 2>/dev/null || exit 99
exit "$status"
