#!/bin/bash
# nagios4.sh FILE: FILE holds object definitions with commands and services, on the host "h" or its own, whose contact
# is "c". Every service is checked once in a real Nagios Core, as user nagios, and only when it is told to; prints the
# servicestatus blocks of its status.dat. Not 0: it failed, and says why. Further environment:
#   PLUGIN_DIR  what $USER1$ is
#   ROUNDS      so many checks of every service, one after another
#   NOTIFIED    a file: notifications are on, and those that were sent stand there, a line each
# Needs root; on Debian: apt-get install --no-install-recommends nagios4-core
set -euo pipefail
PATH=$PATH:/usr/sbin
daemon=
d=$(mktemp -d /tmp/check_conntrack-nagios.XXXXXX)
mkdir "$d"/{rw,spool,archives}
touch "$d"/{verify,out,notified}
cp "$1" "$d/given.cfg"

# shellcheck disable=SC2317 # the trap below calls it
finish() {
    local status=$?
    trap - EXIT
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    if [ "$status" -ne 0 ]; then
        cat "$d"/verify "$d"/out "$d"/nagios.log >&2 || true
    fi
    rm -rf "$d"
    exit "$status"
}
trap finish EXIT
trap 'exit 98' INT TERM HUP

notifications=0
if [ -n "${NOTIFIED:-}" ]; then notifications=1; fi
echo "\$USER1\$=${PLUGIN_DIR:-/usr/lib/nagios/plugins}" >"$d/resource.cfg"
cat >"$d/nagios.cfg" <<CFG
log_file=$d/nagios.log
cfg_file=$d/objects.cfg
cfg_file=$d/given.cfg
resource_file=$d/resource.cfg
object_cache_file=$d/objects.cache
status_file=$d/status.dat
status_update_interval=1
nagios_user=nagios
nagios_group=nagios
check_external_commands=1
command_file=$d/rw/nagios.cmd
query_socket=$d/rw/nagios.qh
lock_file=$d/nagios.pid
temp_file=$d/nagios.tmp
temp_path=$d
check_result_path=$d/spool
check_result_reaper_frequency=1
log_archive_path=$d/archives
retain_state_information=0
check_for_updates=0
enable_notifications=$notifications
execute_host_checks=0
execute_service_checks=0
use_syslog=0
service_check_timeout=20
CFG
# a service is not accepted without a contact, nor a contact without commands
cat >"$d/objects.cfg" <<CFG
define timeperiod {
  timeperiod_name 24x7
  alias           always
  sunday          00:00-24:00
  monday          00:00-24:00
  tuesday         00:00-24:00
  wednesday       00:00-24:00
  thursday        00:00-24:00
  friday          00:00-24:00
  saturday        00:00-24:00
}
define command {
  command_name tell
  command_line printf '%s\n' '\$NOTIFICATIONTYPE\$ \$SERVICEDESC\$ \$SERVICESTATE\$ \$SERVICEOUTPUT\$' >>$d/notified
}
define contact {
  contact_name                  c
  service_notification_period   24x7
  host_notification_period      24x7
  service_notification_options  w,u,c,r
  host_notification_options     d,r
  service_notification_commands tell
  host_notification_commands    tell
}
define host {
  host_name             h
  address               127.0.0.1
  max_check_attempts    1
  active_checks_enabled 0
  check_period          24x7
  notification_period   24x7
  contacts              c
}
CFG
chmod 755 "$d"
chown -R nagios:nagios "$d"

nagios4 -v "$d/nagios.cfg" >"$d/verify" 2>&1
nagios4 "$d/nagios.cfg" </dev/null >"$d/out" 2>&1 &
daemon=$!
for _ in $(seq 400); do
    if [ -p "$d/rw/nagios.cmd" ] && [ -f "$d/status.dat" ]; then break; fi
    kill -0 "$daemon"
    sleep 0.05
done
mapfile -t services < <(sed -n '/^define service {/,/}/{
    s/^.host_name.//p
    s/^.service_description.//p
}' "$d/objects.cache" | paste -d ';' - -)

# a check is known by the second it was made in
times() { sed -n 's/^.last_check=//p' "$d/blocks"; }
: >"$d/blocks"
for round in $(seq "${ROUNDS:-1}"); do
    before=$(times)
    if [ "$round" -gt 1 ]; then sleep 1.1; fi
    now=$(date +%s)
    for service in "${services[@]:?no service}"; do
        echo "[$now] SCHEDULE_FORCED_SVC_CHECK;$service;$now"
    done >"$d/rw/nagios.cmd"
    done=
    for _ in $(seq 400); do
        # the file is replaced by renaming: what was copied is whole
        cp "$d/status.dat" "$d/seen"
        sed -n '/^servicestatus/,/}/p' "$d/seen" >"$d/blocks"
        if [ "$(grep -c '^.has_been_checked=1$' "$d/blocks")" -eq "${#services[@]}" ] \
            && ! paste -d = <(echo "$before") <(times) | grep -q '^\([0-9]*\)=\1$'; then
            done=yes
            break
        fi
        sleep 0.05
    done
    if [ -z "$done" ]; then
        echo "not every service was checked in round $round" >&2
        cat "$d/blocks" >&2
        exit 97
    fi
done
cat "$d/blocks"
if [ -n "${NOTIFIED:-}" ]; then
    # the last one may be on its way
    sleep 1
    cat "$d/notified" >"$NOTIFIED"
fi
