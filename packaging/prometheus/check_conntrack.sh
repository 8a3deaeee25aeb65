#!/bin/sh
# check_conntrack.sh FILE [OPTION...]: runs check_conntrack with the options and writes its state and its perfdata to FILE
# (*.prom), in the format that the textfile collector of node_exporter reads. FILE is replaced by a rename. The options are
# for the plugin. check_conntrack-textfile.service calls this script.
#
# Each value is a gauge check_conntrack_LABEL, each counter of the kernel (unit c) a counter check_conntrack_LABEL_total.
# check_conntrack_state is the exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. The text of the plugin becomes no
# label, because each new text would be a new time series: journalctl -u check_conntrack-textfile has it.
set -eu
file=${1:?a file in the directory of the textfile collector}
shift
plugin=${CHECK_CONNTRACK:-/usr/lib/nagios/plugins/check_conntrack}

state=0
said=$("$plugin" "$@") || state=$?
# a plugin that is missing or was killed
case $state in [0-3]) ;; *) state=3 ;; esac
printf '%s\n' "$said"

# in the same directory, so that the rename is atomic; the collector reads *.prom alone
new=$file.new
trap 'rm -f -- "$new"' EXIT
{
    printf '# HELP check_conntrack_state Exit status of check_conntrack: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.\n'
    printf '# TYPE check_conntrack_state gauge\ncheck_conntrack_state %s\n' "$state"
    # line 1 after its |: LABEL=VALUE[UNIT];WARN;CRIT;MIN;MAX, separated by blanks
    printf '%s\n' "$said" | sed -n '1s/^[^|]*|//p' | tr ' ' '\n' | awk -F '[=;]' '
        NF > 1 {
            name = "check_conntrack_" $1
            type = "gauge"
            if ($2 ~ /c$/) { name = name "_total"; type = "counter" }
            value = $2
            gsub(/[^-0-9.]/, "", value)
            printf "# HELP %s Value %s of check_conntrack.\n# TYPE %s %s\n%s %s\n", name, $1, name, type, name, value
        }'
} >"$new"
chmod 644 "$new"
mv -- "$new" "$file"
