#!/bin/bash
# lib.sh: functions that the scripts of tests/hosts and others share: a folder of their own, daemons that end with the
# script, and waiting. A script that calls own_folder may set SHOWN to the exit status above which the output of its
# daemons is shown (0).
set -euo pipefail
umask 022
unset CDPATH
export LC_ALL=C TZ=UTC0 PATH=$PATH:/usr/sbin:/sbin:/usr/lib/nagios/plugins

lib=$(dirname -- "${BASH_SOURCE[0]}")
# The folder of the script, and the logs that are shown if it fails.
d='' logs=()
# Process ids of the script's own daemons, by name. `pid_file[NAME]` is a file with another one, if the daemon is not the
# process that was started.
declare -A daemons=() pid_file=()

# Makes a folder $d, which other users may look into. It goes when the script ends, and the daemons end with it.
own_folder() {
    # beside a copy of this file, for another user, stands a copy of the script that makes the folder
    local scratch=$lib/../scripts/scratch
    [ -x "$scratch" ] || scratch=$lib/scratch
    d=$("$scratch" check_conntrack-host)
    trap finish EXIT
    trap 'exit 98' INT TERM HUP
}

# start NAME COMMAND [ARGUMENT...]: a daemon, whose output is the file NAME.out
start() {
    local name=$1
    shift
    logs+=("$d/$name.out")
    "$@" </dev/null >"$d/$name.out" 2>&1 &
    daemons[$name]=$!
}

# alive NAME
alive() { kill -0 "${daemons[$1]}" 2>/dev/null; }

# Ends the daemons and waits until they are gone.
stop() {
    local name pid
    for name in "${!daemons[@]}"; do
        pid=${daemons[$name]}
        if [ -s "${pid_file[$name]:-/nonexistent}" ]; then
            kill -TERM "$(cat "${pid_file[$name]}")" 2>/dev/null || true
        else
            kill -TERM "$pid" 2>/dev/null || true
        fi
        wait "$pid" 2>/dev/null || true
        unset "daemons[$name]"
    done
}

# shellcheck disable=SC2317 # the trap of own_folder calls it
finish() {
    local status=$?
    trap - EXIT
    stop
    if [ "$status" -gt "${SHOWN:-0}" ]; then
        tail -n 60 "${logs[@]}" /dev/null >&2 2>/dev/null || true
    fi
    rm -rf -- "$d"
    exit "$status"
}

# until_true SECONDS WHAT COMMAND [ARGUMENT...]: waits until the command succeeds. Fails after so many seconds, with what
# was waited for and what the command printed the last time. BETWEEN: seconds between two looks (0.05).
until_true() {
    local seconds=$1 what=$2 end=$((SECONDS + $1)) said
    shift 2
    while ! said=$("$@" 2>&1); do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "waited $seconds s for $what, at last: $*: ${said:-(no output)}" >&2
            return 97
        fi
        sleep "${BETWEEN:-0.05}"
    done
}

# ---- Nagios Core and Icinga 2: both have the same files of objects and status, and the same commands ------------------

# list_services OBJECTS: a line HOST;SERVICE for each service
list_services() {
    sed -n '/^define service {/,/}/{
        s/^.host_name.//p
        s/^.service_description.//p
    }' "$1" | paste -d ';' - -
}

# force_checks COMMAND_PIPE SERVICE...: has each service checked at once
force_checks() {
    local pipe=$1 service
    shift
    for service in "$@"; do
        echo "[$(date +%s)] SCHEDULE_FORCED_SVC_CHECK;$service;$(date +%s)"
    done >"$pipe"
}

# service_blocks STATUS: the blocks of the services. The file is replaced by renaming, so that what is read is whole.
service_blocks() { sed -n '/^servicestatus/,/}/p' "$1"; }

# later_than SECOND: the clock shows another one
later_than() { [ "$(date +%s)" -gt "$1" ]; }

# check_rounds ROUNDS COMMAND_PIPE STATUS TIMES SERVICE...: has every service checked so often, one round after another.
# TIMES is a function that prints for each service of the blocks on its input when it was checked, to the second, or
# nothing if it was never checked.
check_rounds() {
    local rounds=$1 pipe=$2 status=$3 times=$4 round before
    shift 4
    for ((round = 1; round <= rounds; round++)); do
        before=$(service_blocks "$status" | "$times")
        # a check is known by the second it was made in
        until_true 10 "the next second" later_than "$(date +%s)"
        force_checks "$pipe" "$@"
        until_true 60 "every service to be checked in round $round" \
            all_checked_since "$before" "$status" "$times" "$#"
    done
}

# all_checked_since BEFORE STATUS TIMES SERVICES
all_checked_since() {
    local now
    now=$(service_blocks "$2" | "$3")
    echo "checked at $(echo "$now" | tr '\n' ' ')"
    [ "$(grep -c . <<<"$now")" -eq "$4" ] && ! paste -d = <(echo "$1") <(echo "$now") | grep -q '^\(.*\)=\1$'
}
