#!/bin/bash
# icinga2.sh FRAGMENT: FRAGMENT is Icinga 2 configuration with CheckCommands and Services, on the host "h" or its own.
# Every Service, applied ones too, is checked once in a real Icinga 2, as user nagios; prints its state file (JSON in
# netstrings). PLUGIN_DIR in the environment: another PluginContribDir; ROUNDS: so many checks of every
# Service, one after another. Not 0: it failed, and says why.
# Needs root; on Debian: apt-get install --no-install-recommends icinga2-bin
# shellcheck source=tests/hosts/lib.sh
. "$(dirname -- "$0")/lib.sh"
own_folder
mkdir "$d"/{data,cache,log,run,spool}
logs+=("$d/verify")
cat -- "$1" >"$d/fragment.conf"

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
chown -R nagios:nagios "$d"
# nothing of it outside the folder
folders=(-DDataDir="$d/data" -DCacheDir="$d/cache" -DLogDir="$d/log" -DInitRunDir="$d/run" -DSpoolDir="$d/spool")

icinga2 daemon -C -c "$d/icinga2.conf" "${folders[@]}" >"$d/verify" 2>&1
# SIGTERM to the process of the pid file, which is not always the one started here, makes it write its state
pid_file[icinga2]=$d/run/icinga2.pid
start icinga2 icinga2 daemon -c "$d/icinga2.conf" "${folders[@]}"
ready() { alive icinga2 && [ -p "$d/run/icinga2.cmd" ] && [ -s "$d/status.dat" ] && [ -s "$d/objects.cache" ]; }
until_true 120 "Icinga 2 to be ready" ready

# what was applied is known to the daemon alone
mapfile -t services < <(list_services "$d/objects.cache")
# A check is known by the seconds of the last one in each state, a line for each service; last_check is -1 for ever.
times() {
    awk '/^.last_time_/ { sub(/.*=/, ""); if ($0 > 0) seen = seen ":" $0 } /^[[:space:]]*}/ { print seen; seen = "" }'
}
check_rounds "${ROUNDS:-1}" "$d/run/icinga2.cmd" "$d/status.dat" times "${services[@]:?no service}"
stop
cat "$d/data/icinga2.state"
