#!/bin/bash
# nagios4.sh FILE: FILE holds object definitions with commands and services, on the host "h" or its own, whose contact
# is "c". Every service is checked once in a real Nagios Core, as user nagios, and only when it is told to; prints the
# servicestatus blocks of its status.dat. Not 0: it failed, and says why. Further environment:
#   PLUGIN_DIR  what $USER1$ is
#   ROUNDS      so many checks of every service, one after another
#   NOTIFIED    a file: notifications are on, and those that were sent stand there, a line each
# Needs root; on Debian: apt-get install --no-install-recommends nagios4-core
# shellcheck source=tests/hosts/lib.sh
. "$(dirname -- "$0")/lib.sh"
own_folder
mkdir "$d"/{rw,spool,archives}
logs+=("$d/verify" "$d/nagios.log")
touch "$d/notified"
cat -- "$1" >"$d/given.cfg"

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
service_check_timeout=60
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
chown -R nagios:nagios "$d"

nagios4 -v "$d/nagios.cfg" >"$d/verify" 2>&1
start nagios nagios4 "$d/nagios.cfg"
ready() { alive nagios && [ -p "$d/rw/nagios.cmd" ] && [ -f "$d/status.dat" ]; }
until_true 60 "Nagios to be ready" ready

mapfile -t services < <(list_services "$d/objects.cache")
times() { sed -n 's/^.last_check=0*//p'; }
check_rounds "${ROUNDS:-1}" "$d/rw/nagios.cmd" "$d/status.dat" times "${services[@]:?no service}"
service_blocks "$d/status.dat"

# A notification is logged when it is decided on, which is before its check is in the status file. Its command writes
# a line after that.
all_notified() {
    local logged sent
    logged=$(grep -c 'SERVICE NOTIFICATION:' "$d/nagios.log" || true)
    sent=$(wc -l <"$d/notified")
    echo "$sent of $logged notifications were sent"
    [ "$sent" -eq "$logged" ]
}
if [ -n "${NOTIFIED:-}" ]; then
    until_true 60 "every notification to be sent" all_notified
    cat "$d/notified" >"$NOTIFIED"
fi
