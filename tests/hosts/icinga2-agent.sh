#!/bin/bash
# icinga2-agent.sh PLUGINS GLOBAL MASTER [PROGRAM ARGUMENT...]: a real Icinga 2 master and a real agent, each in a
# network namespace of its own with a cable in between, and certificates of their own CA. The master hands the
# configuration file GLOBAL to the agent by a global zone, and has MASTER for itself, with a Host for the Endpoint
# "agent"; the agent alone has plugins, in the folder PLUGINS. Every Service is checked until its answer is the
# plugin's, then the master's state file (JSON in netstrings) is printed. PROGRAM runs in the agent's namespace before
# that. Not 0: it failed, and says why.
# Needs root; on Debian: apt-get install --no-install-recommends icinga2-bin iproute2 openssl
if [ -z "${ICINGA2_AGENT_NAMESPACE:-}" ]; then
    ICINGA2_AGENT_NAMESPACE=1 exec unshare -n -- bash "$0" "$@"
fi
# shellcheck source=tests/hosts/lib.sh
. "$(dirname -- "$0")/lib.sh"
own_folder
plugins=$1 global=$2 master=$3
shift 3
logs+=("$d/pki")
for name in master agent; do
    mkdir -p "$d/$name"/{data/certs,cache,log,run,spool,etc/zones.d}
done
mkdir "$d"/master/etc/zones.d/{global-templates,master}

# ---- two namespaces and a cable ----

start holder unshare -n -- sleep infinity
is_elsewhere() {
    alive holder && [ "$(readlink "/proc/${daemons[holder]}/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}
until_true 60 "another network namespace" is_elsewhere
in_agent() { nsenter -n -t "${daemons[holder]}" -- "$@"; }
ip link set lo up
ip link add cable type veth peer name cable netns "${daemons[holder]}"
ip address add 192.0.2.1/24 dev cable
ip link set cable up
in_agent ip link set lo up
in_agent ip address add 192.0.2.2/24 dev cable
in_agent ip link set cable up

# ---- certificates: keys of an elliptic curve are made at once, those of "icinga2 pki" take seconds ----

openssl_new() { openssl req -batch -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "$@" >>"$d/pki" 2>&1; }
openssl_new -x509 -days 2 -subj '/CN=Icinga CA' -keyout "$d/ca.key" -out "$d/ca.crt"
for name in master agent; do
    certs=$d/$name/data/certs
    openssl_new -subj "/CN=$name" -keyout "$certs/$name.key" -out "$d/$name.csr"
    openssl x509 -req -days 2 -in "$d/$name.csr" -CA "$d/ca.crt" -CAkey "$d/ca.key" -CAcreateserial \
        -extfile <(echo "subjectAltName=DNS:$name") -out "$certs/$name.crt" >>"$d/pki" 2>&1
    cat "$d/ca.crt" >"$certs/ca.crt"
done

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
cat -- "$global" >"$d/master/etc/zones.d/global-templates/given.conf"
cat -- "$master" >"$d/master/etc/zones.d/master/given.conf"
chown -R nagios:nagios "$d"

folders() {
    printf -- '-D%s=%s\n' ConfigDir "$d/$1/etc" ZonesDir "$d/$1/etc/zones.d" DataDir "$d/$1/data" \
        CacheDir "$d/$1/cache" LogDir "$d/$1/log" InitRunDir "$d/$1/run" SpoolDir "$d/$1/spool"
}
mapfile -t of_master < <(folders master)
mapfile -t of_agent < <(folders agent)

# ---- the two daemons ----

for name in master agent; do pid_file[$name]=$d/$name/run/icinga2.pid; done
start master icinga2 daemon -c "$d/master/etc/icinga2.conf" "${of_master[@]}"
start agent nsenter -n -t "${daemons[holder]}" -- icinga2 daemon -c "$d/agent/etc/icinga2.conf" "${of_agent[@]}"
if [ $# -gt 0 ]; then in_agent "$@"; fi
ready() { alive master && alive agent && [ -p "$d/master/run/icinga2.cmd" ] && [ -s "$d/master/objects.cache" ]; }
until_true 120 "the master to be ready" ready
mapfile -t services < <(list_services "$d/master/objects.cache")

# Until the agent is connected, has fetched the configuration and restarted with it, the answers are Icinga's own.
answered_by_the_plugin() {
    local answered
    force_checks "$d/master/run/icinga2.cmd" "${services[@]:?no service}"
    answered=$(service_blocks "$d/master/status.dat" | grep -c '^.plugin_output=CONNTRACK ' || true)
    echo "$answered of ${#services[@]} services"
    [ "$answered" -eq "${#services[@]}" ]
}
BETWEEN=1 until_true 180 "every service to be answered by the plugin" answered_by_the_plugin
stop
cat "$d/master/data/icinga2.state"
