#!/bin/bash
# icinga2.sh FRAGMENT: FRAGMENT is Icinga 2 configuration with CheckCommands and Services, on the host "h" or its own.
# Every Service, applied ones too, is checked once in a real Icinga 2, as user nagios; prints its state file (JSON in
# netstrings). PLUGIN_DIR in the environment: another PluginContribDir; ROUNDS: so many checks of every
# Service, one after another. Not 0: it failed, and says why.
# Needs root; on Debian: apt-get install --no-install-recommends icinga2-bin
set -euo pipefail
PATH=$PATH:/usr/sbin
fragment=$1 daemon=
d=$(mktemp -d /tmp/check_conntrack-icinga.XXXXXX)
mkdir "$d"/{data,cache,log,run,spool}
touch "$d"/{verify,out}
cp "$fragment" "$d/fragment.conf"

# SIGTERM to the process of the pid file, which is not always the one started here, makes it write its state
stop() {
    if [ -n "$daemon" ]; then
        kill -TERM "$(cat "$d/run/icinga2.pid" 2>/dev/null || echo "$daemon")" 2>/dev/null || true
        wait "$daemon" || true
        daemon=
    fi
}
# shellcheck disable=SC2317 # the trap below calls it
finish() {
    local status=$?
    trap - EXIT
    stop
    if [ "$status" -ne 0 ]; then
        cat "$d"/verify "$d"/out >&2 || true
    fi
    rm -rf "$d"
    exit "$status"
}
trap finish EXIT
trap 'exit 98' INT TERM HUP

cat >"$d/icinga2.conf" <<CFG
const PluginDir = "/usr/lib/nagios/plugins"
const PluginContribDir = "${PLUGIN_DIR:-/usr/lib/nagios/plugins}"
const ZoneName = NodeName
include <itl>
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object ExternalCommandListener "command" { command_path = "$d/run/icinga2.cmd" }
object StatusDataWriter "status" {
  status_path = "$d/status.dat"
  objects_path = "$d/objects.cache"
  update_interval = 0.2s
}
object Host "h" { check_command = "dummy"; enable_active_checks = false }
include "$d/fragment.conf"
CFG
chmod 755 "$d"
chown -R nagios:nagios "$d"
# nothing of it outside the folder
folders=(-DDataDir="$d/data" -DCacheDir="$d/cache" -DLogDir="$d/log" -DInitRunDir="$d/run" -DSpoolDir="$d/spool")

icinga2 daemon -C -c "$d/icinga2.conf" "${folders[@]}" >"$d/verify" 2>&1
icinga2 daemon -c "$d/icinga2.conf" "${folders[@]}" </dev/null >"$d/out" 2>&1 &
daemon=$!
for _ in $(seq 400); do
    if [ -p "$d/run/icinga2.cmd" ] && [ -s "$d/status.dat" ] && [ -s "$d/objects.cache" ]; then break; fi
    kill -0 "$daemon"
    sleep 0.05
done
# what was applied is known to the daemon alone
mapfile -t services < <(sed -n '/^define service/,/}/{
    s/^.host_name.//p
    s/^.service_description.//p
}' "$d/objects.cache" | paste -d ';' - -)
# A check is known by the seconds of the last one in each state, a line for each service; last_check is -1 for ever.
times() {
    awk '/^.last_time_/ { sub(/.*=/, ""); seen = seen ":" $0 } /^[[:space:]]*}/ { print seen; seen = "" }' "$d/blocks"
}
: >"$d/blocks"
for round in $(seq "${ROUNDS:-1}"); do
    before=$(times)
    if [ "$round" -gt 1 ]; then sleep 1.1; fi
    now=$(date +%s)
    for service in "${services[@]:?no service}"; do
        echo "[$now] SCHEDULE_FORCED_SVC_CHECK;$service;$now"
    done >"$d/run/icinga2.cmd"
    done=
    for _ in $(seq 400); do
        # the service blocks alone: the host is never checked
        sed -n '/^servicestatus/,/}/p' "$d/status.dat" >"$d/blocks"
        checked=$(times | grep -c '[1-9]' || true)
        if [ "$checked" -eq "${#services[@]}" ] \
            && ! paste -d = <(echo "$before") <(times) | grep -q '^\(.*\)=\1$'; then
            done=yes
            break
        fi
        sleep 0.05
    done
    if [ -z "$done" ]; then
        echo "$checked of ${#services[@]} services were checked in round $round" >&2
        exit 97
    fi
done
stop
cat "$d/data/icinga2.state"
