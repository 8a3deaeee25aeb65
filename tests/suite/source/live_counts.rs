//! The real kernel, in network namespaces this test makes itself: no privilege needed, no other table touched.

mod netns {
    use std::ffi::OsStr;

    use crate::common::{Answer, answers, binary, needs, sh};

    /// Runs a script as the fake root of new user and network namespaces, `$1` being the binary. The script prints
    /// what was set up and what the plugin said.
    fn in_namespace(script: &str) -> String {
        needs("conntrack", "conntrack");
        let whole = format!("ip link set lo up\n{script}");
        let inner = ["bash", "-euo", "pipefail", "-c", &whole, "netns"].map(OsStr::new);
        let binary = binary();
        let arguments: Vec<&OsStr> = inner.into_iter().chain([binary.as_os_str()]).collect();
        sh("exec unshare -Urn -- \"$@\"", &arguments)
    }

    /// Entries of UDP flows between documentation addresses, `$1` to `$2`.
    const INSERT: &str = r#"
insert() {
    for i in $(seq "$1" "$2"); do
        echo "-A -p udp -s 192.0.2.$((i % 250 + 1)) -d 198.51.100.7 --sport $((1024 + i)) --dport 53 -t 600"
    done >entries
    conntrack -R entries >/dev/null 2>&1
    rm entries
}
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
"#;

    #[test]
    fn the_count_follows_what_is_inserted_and_deleted() {
        let script = format!(
            r#"{INSERT}
say() {{ rc=0; "$@" || rc=$?; echo "=$rc"; }}
say "$1"
insert 1 4
say "$1"
insert 5 1000
say "$1"
say "$1" -w entries=500 -c entries=999
say "$1" -w entries=1000
conntrack -F >/dev/null 2>&1
say "$1"
"#
        );
        let got = answers(&in_namespace(&script));
        let counts: Vec<String> = got
            .iter()
            .map(|a| a.value("entries").unwrap()[0].clone())
            .collect();
        assert_eq!(counts, ["0", "4", "1000", "1000", "1000", "0"]);
        let codes: Vec<i32> = got.iter().map(|a| a.code).collect();
        assert_eq!(codes, [0, 0, 0, 2, 0, 0]);
        assert!(got[3].first_line().contains("(1000 of "), "{}", got[3].text);
    }

    #[test]
    fn the_counters_are_those_of_conntrack() {
        let script = format!(
            r#"{INSERT}
insert 1 300
rc=0; "$1" || rc=$?; echo "=$rc"
conntrack -S
"#
        );
        let printed = in_namespace(&script);
        let (answer, statistics) = printed.split_once("\n=").unwrap();
        let answer = Answer {
            code: 0,
            text: format!("{answer}\n"),
        };
        for (label, name) in [
            ("drop", "drop"),
            ("early_drop", "early_drop"),
            ("insert_failed", "insert_failed"),
            ("chaintoolong", "chaintoolong"),
        ] {
            let words = statistics
                .split_whitespace()
                .filter_map(|word| word.strip_prefix(&format!("{name}=")));
            let total: u64 = words.map(|n| n.parse::<u64>().unwrap()).sum();
            assert_eq!(
                answer.value(label).unwrap(),
                [format!("{total}c")],
                "{label}"
            );
        }
    }

    #[test]
    fn a_table_filled_past_its_thresholds_is_told_as_such() {
        // nf_conntrack_max is one number for the whole host and not ours to lower: another file is put over it, in a
        // mount namespace of our own
        let script = format!(
            r#"{INSERT}
insert 1 1000
say() {{ rc=0; "$@" || rc=$?; echo "=$rc"; }}
for max in 2000 1250 1249 1000 999; do
    echo "$max" >max
    mount --bind max /proc/sys/net/netfilter/nf_conntrack_max
    say "$1"
    umount /proc/sys/net/netfilter/nf_conntrack_max
done
"#
        );
        let script = format!(
            "exec unshare -m -- bash -euo pipefail -c {} netns \"$1\"",
            quoted(&script)
        );
        let got = answers(&in_namespace(&script));
        let codes: Vec<i32> = got.iter().map(|a| a.code).collect();
        assert_eq!(codes, [0, 0, 1, 2, 2]);
        assert!(
            got[1]
                .first_line()
                .starts_with("CONNTRACK is OK: 80.0% of the table in use (1000 of 1250 entries")
        );
        assert!(
            got[4].first_line().contains("1 over the limit"),
            "{}",
            got[4].text
        );
    }

    #[test]
    fn entries_that_expired_and_were_not_collected_are_missing_in_the_list() {
        // the kernel collects some of them in the background, and all of them at last, so the table is filled again
        // until the check comes first
        let script = format!(
            r#"{INSERT}
insert() {{
    for i in $(seq 1000); do
        echo "-A -p udp -s 192.0.2.$((i % 250 + 1)) -d 198.51.100.7 --sport $((1024 + i)) --dport 53 -t 1"
    done >entries
    conntrack -F >/dev/null 2>&1
    conntrack -R entries >/dev/null 2>&1
}}
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    insert
    sleep 1.1 # they expire after a second
    rc=0; "$1" --top -w 0 >answer || rc=$?
    grep -q "the table lists 0 of" answer && break
done
cat answer; echo "=$rc"
"#
        );
        let got = answers(&in_namespace(&script));
        let answer = got.last().unwrap();
        assert_eq!(answer.code, 1, "{}", answer.text);
        let first = answer.first_line();
        let count = &answer.value("entries").unwrap()[0];
        let part = format!("the table lists 0 of {count},");
        assert!(first.contains(&part), "{first}");
        assert!(count.parse::<u32>().unwrap() > 1, "{first}");
        for advice in ["hint:", "no endpoint stands out", "raise net."] {
            assert!(!answer.text.contains(advice), "{}", answer.text);
        }
    }

    #[test]
    fn every_user_gets_the_same_verdict() {
        let script = format!(
            r#"{INSERT}
insert 1 50
"$1" -w entries=10 || true
setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$1" -w entries=10 || true
"#
        );
        let printed = in_namespace(&script);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("CONNTRACK is WARNING: ") && lines[0].contains(" (50 of "),
            "{printed}"
        );
        assert_eq!(lines[0], lines[1]);
    }

    fn quoted(script: &str) -> String {
        format!("'{}'", script.replace('\'', r"'\''"))
    }
}
