#!/bin/bash
# nrpe.sh PORT 'COMMAND LINE': runs the command line through a real NRPE daemon on loopback, as user nagios; prints what
# check_nrpe prints and exits with its status. NRPE_PKT=-2 in the environment: packets of version 2 (1023 bytes).
# nrpe.sh PORT FILE PROGRAM [ARGUMENT]...: the daemon has the commands of FILE instead, and none takes an argument from
# the network; runs the program, which finds check_nrpe on its PATH, and exits as it does. NRPE_TLS=1 in the
# environment: encrypted, as is the default of both sides; without it they need -n.
# Exit 99: the daemon did not come up, or not on this port; its log is on stderr.
# Needs root; on Debian: apt-get install --no-install-recommends nagios-nrpe-server nagios-nrpe-plugin
SHOWN=3
# shellcheck source=tests/hosts/lib.sh
. "$(dirname -- "$0")/lib.sh"
own_folder
port=$1 given=$2
shift 2
logs+=("$d/nrpe.log")

cat >"$d/nrpe.cfg" <<CFG
log_file=$d/nrpe.log
pid_file=$d/nrpe.pid
server_address=127.0.0.1
server_port=$port
nrpe_user=nagios
nrpe_group=nagios
allowed_hosts=127.0.0.1
command_timeout=60
dont_blame_nrpe=0
include=$d/commands.cfg
CFG
if [ $# -gt 0 ]; then
    cat -- "$given" >"$d/commands.cfg"
else
    echo "command[t]=$given" >"$d/commands.cfg"
    # without -t's :UNKNOWN a slow plugin would look like a CRITICAL one
    set -- check_nrpe -n -H 127.0.0.1 -p "$port" -t 60:UNKNOWN ${NRPE_PKT:+"$NRPE_PKT"} -c t
fi
chown -R nagios:nagios "$d"

plain=(-n)
if [ -n "${NRPE_TLS:-}" ]; then plain=(); fi
start nrpe nrpe -c "$d/nrpe.cfg" -f "${plain[@]}"
# Listens, or has ended. Its own word: another program could answer on the port.
# shellcheck disable=SC2317 # until_true calls it
listens_or_ended() { grep -q 'Listening for connections' "$d/nrpe.log" || ! alive nrpe; }
until_true 60 "NRPE to listen on port $port" listens_or_ended
alive nrpe || exit 99

status=0
"$@" </dev/null || status=$?
alive nrpe || exit 99
exit "$status"
