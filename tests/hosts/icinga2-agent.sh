#!/bin/bash
# icinga2-agent.sh PLUGINS GLOBAL MASTER [PROGRAM ARGUMENT...]: a real Icinga 2 master and a real agent, each in a
# network namespace of its own with a cable in between, and certificates of their own CA. The master hands the
# configuration file GLOBAL to the agent by a global zone, and has MASTER for itself, with a Host for the Endpoint
# "agent"; the agent alone has plugins, in the folder PLUGINS. Every Service is checked until its answer is the
# plugin's, then the master's state file (JSON in netstrings) is printed. PROGRAM runs in the agent's namespace before
# that. Not 0: it failed, and says why.
# Needs root; on Debian: apt-get install --no-install-recommends icinga2-bin iproute2

# failed, and says why. Needs root; on Debian: apt-get install --no-install-recommends icinga2-bin iproute2
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
if [ -z "${ICINGA2_AGENT_NAMESPACE:-}" ]; then
    ICINGA2_AGENT_NAMESPACE=1 exec unshare -n -- bash "$0" "$@"
fi
plugins=$1 global=$2 master=$3
shift 3
holder=
declare -A daemon=([master]='' [agent]='')
d=$(mktemp -d /tmp/check_conntrack-icinga.XXXXXX)

# SIGTERM to the process of the pid file, which is not always the one started here, makes it write its state
stop() {
    local name
    for name in "${!daemon[@]}"; do
        if [ -n "${daemon[$name]}" ]; then
            kill -TERM "$(cat "$d/$name/run/icinga2.pid" 2>/dev/null || echo "${daemon[$name]}")" 2>/dev/null || true
            wait "${daemon[$name]}" || true
            daemon[$name]=
        fi
    done
    if [ -n "$holder" ]; then
        kill "$holder" 2>/dev/null || true
        wait "$holder" 2>/dev/null || true
        holder=
    fi
}
# shellcheck disable=SC2317 # the trap below calls it
finish() {
    local status=$?
    trap - EXIT
    stop
    if [ "$status" -ne 0 ]; then
        tail -n 60 "$d"/pki "$d"/*/out >&2 || true
    fi
    rm -rf "$d"
    exit "$status"
}
trap finish EXIT
trap 'exit 98' INT TERM HUP

for name in master agent; do
    mkdir -p "$d/$name"/{data/certs,cache,log,run,spool,etc/zones.d}
    touch "$d/$name/out"
done
touch "$d/pki"
chmod 755 "$d"
# every command of Icinga 2 becomes this user first
chown -R nagios:nagios "$d"

# ---- two namespaces and a cable ----

unshare -n -- sleep infinity &
holder=$!
# it is a namespace of its own once it is another one than ours
for _ in $(seq 200); do
    if [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then break; fi
    sleep 0.02
done
in_agent() { nsenter -n -t "$holder" -- "$@"; }
ip link set lo up
ip link add cable type veth peer name cable netns "$holder"
ip address add 192.0.2.1/24 dev cable
ip link set cable up
in_agent ip link set lo up
in_agent ip address add 192.0.2.2/24 dev cable
in_agent ip link set cable up

# ---- certificates ----

icinga2 pki new-ca -DDataDir="$d/master/data" >>"$d/pki" 2>&1
certify() {
    local certs=$d/$1/data/certs
    icinga2 pki new-cert --cn "$1" --key "$certs/$1.key" --csr "$certs/$1.csr" -DDataDir="$d/$1/data"
    icinga2 pki sign-csr --csr "$certs/$1.csr" --cert "$certs/$1.crt" -DDataDir="$d/master/data"
    cp "$d/master/data/ca/ca.crt" "$certs/"
}
# a key of 4096 bits takes seconds
certify master >>"$d/pki" 2>&1 &
making=$!
certify agent >>"$d/pki" 2>&1
wait "$making"

# ---- configuration ----

configure() { # NAME PLUGINS, more on stdin
    {
        cat <<CFG
const NodeName = "$1"
const ZoneName = "$1"
const PluginDir = "/usr/lib/nagios/plugins"
const PluginContribDir = "$2"
include <itl>
object Endpoint "master" { host = "192.0.2.1" }
object Endpoint "agent" { host = "192.0.2.2" }
object Zone "master" { endpoints = [ "master" ] }
object Zone "agent" { endpoints = [ "agent" ]; parent = "master" }
object Zone "global-templates" { global = true }
object CheckerComponent "checker" { }
CFG
        cat
    } >"$d/$1/etc/icinga2.conf"
}
configure master "$d/no-plugins-here" <<CFG
object ApiListener "api" { bind_host = "192.0.2.1" }
object ExternalCommandListener "command" { command_path = "$d/master/run/icinga2.cmd" }
object StatusDataWriter "status" {
  status_path = "$d/master/status.dat"
  objects_path = "$d/master/objects.cache"
  update_interval = 0.2s
}
CFG
configure agent "$plugins" <<CFG
object ApiListener "api" { bind_host = "192.0.2.2"; accept_config = true; accept_commands = true }
CFG
mkdir "$d"/master/etc/zones.d/{global-templates,master}
cp "$global" "$d/master/etc/zones.d/global-templates/given.conf"
cp "$master" "$d/master/etc/zones.d/master/given.conf"
chown -R nagios:nagios "$d"

folders() {
    printf -- '-D%s=%s\n' ConfigDir "$d/$1/etc" ZonesDir "$d/$1/etc/zones.d" DataDir "$d/$1/data" \
        CacheDir "$d/$1/cache" LogDir "$d/$1/log" InitRunDir "$d/$1/run" SpoolDir "$d/$1/spool"
}
mapfile -t of_master < <(folders master)
mapfile -t of_agent < <(folders agent)

# ---- the two daemons ----

icinga2 daemon -c "$d/master/etc/icinga2.conf" "${of_master[@]}" </dev/null >"$d/master/out" 2>&1 &
daemon[master]=$!
in_agent icinga2 daemon -c "$d/agent/etc/icinga2.conf" "${of_agent[@]}" </dev/null >"$d/agent/out" 2>&1 &
daemon[agent]=$!
if [ $# -gt 0 ]; then in_agent "$@"; fi
for _ in $(seq 400); do
    if [ -p "$d/master/run/icinga2.cmd" ] && [ -s "$d/master/objects.cache" ]; then break; fi
    kill -0 "${daemon[master]}"
    sleep 0.05
done
mapfile -t services < <(sed -n '/^define service/,/}/{
    s/^.host_name.//p
    s/^.service_description.//p
}' "$d/master/objects.cache" | paste -d ';' - -)

# Until the agent is connected, has fetched the configuration and started anew with it, the answers are Icinga's own.
for _ in $(seq 60); do
    now=$(date +%s)
    for service in "${services[@]:?no service}"; do
        echo "[$now] SCHEDULE_FORCED_SVC_CHECK;$service;$now"
    done >"$d/master/run/icinga2.cmd"
    sleep 1
    answered=$(sed -n '/^servicestatus/,/}/p' "$d/master/status.dat" | grep -c '^.plugin_output=CONNTRACK ' || true)
    if [ "$answered" -eq "${#services[@]}" ]; then
        stop
        cat "$d/master/data/icinga2.state"
        exit 0
    fi
done
echo "$answered of ${#services[@]} services were answered by the plugin" >&2
exit 97
