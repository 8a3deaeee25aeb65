#!/bin/bash
# nagios4.sh 'COMMAND LINE'...: one forced check of every command line in a real Nagios Core, as user nagios; prints the
# servicestatus blocks of its status.dat, where the services are called 1, 2, 3... Not 0: it failed, and says why.
# Needs root; on Debian: apt-get install --no-install-recommends nagios4-core
set -euo pipefail
PATH=$PATH:/usr/sbin
daemon=
d=$(mktemp -d /tmp/check_conntrack-nagios.XXXXXX)
mkdir "$d"/{rw,spool,archives}
touch "$d"/{verify,out}

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

cat >"$d/nagios.cfg" <<CFG
log_file=$d/nagios.log
cfg_file=$d/objects.cfg
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
enable_notifications=0
execute_host_checks=0
use_syslog=0
service_check_timeout=20
CFG
# a service is not accepted without a contact, nor a contact without commands
cat >"$d/objects.cfg" <<'CFG'
define timeperiod {
  timeperiod_name 24x7
  alias           always
}
define command {
  command_name nothing
  command_line /bin/true
}
define contact {
  contact_name                  c
  service_notification_period   24x7
  host_notification_period      24x7
  service_notification_commands nothing
  host_notification_commands    nothing
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
n=0
for command in "$@"; do
    n=$((n + 1))
    cat >>"$d/objects.cfg" <<CFG
define command {
  command_name t$n
  command_line $command
}
define service {
  host_name             h
  service_description   $n
  check_command         t$n
  active_checks_enabled 0
  max_check_attempts    1
  check_interval        600
  retry_interval        600
  notification_interval 600
  check_period          24x7
  notification_period   24x7
  contacts              c
}
CFG
done
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
now=$(date +%s)
for service in $(seq "$n"); do
    echo "[$now] SCHEDULE_FORCED_SVC_CHECK;h;$service;$now"
done >"$d/rw/nagios.cmd"

# the file is replaced by renaming: what was copied is whole
for _ in $(seq 400); do
    cp "$d/status.dat" "$d/seen"
    sed -n '/^servicestatus/,/}/p' "$d/seen" >"$d/blocks"
    if [ "$(grep -c '^.has_been_checked=1$' "$d/blocks")" -eq "$n" ]; then
        cat "$d/blocks"
        exit 0
    fi
    sleep 0.05
done
echo "not every service was checked" >&2
cat "$d/blocks" >&2
exit 97
