//! What docs/permissions.md says of file capabilities: with the restrictions that a service manager puts on an agent,
//! and so on its plugins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

/// Each in a network namespace of its own with three entries, so that a range on a metric of the table is OK where the
/// table could be read, and UNKNOWN where it could not.
mod root {
    use std::ffi::OsStr;

    use crate::common::{binary, needs, sh};

    /// Becomes another user. The capabilities go with the next program, which is what an agent would be.
    const USER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    const TABLE: &str = "-w endpoint=10 --source netlink";

    /// What a copy of the binary with these file capabilities says, started by these words.
    fn says(capabilities: &str, started_by: &str, arguments: &str) -> String {
        needs("setcap", "libcap2-bin");
        needs("conntrack", "conntrack");
        let script = r#"
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
chmod 755 "$directory"
install -m 0755 "$1" "$directory/check_conntrack"
[ -z "$2" ] || setcap "$2" "$directory/check_conntrack"
export LC_ALL=C
timeout --kill-after=5 60 unshare --net -- bash -c '
    cd "$1"
    for port in 1 2 3; do
        conntrack -I -p tcp -s 192.0.2.1 -d 192.0.2.2 --sport $port --dport 80 --state ESTABLISHED -t 600
    done >/dev/null 2>&1
    $2 ./check_conntrack $3 2>&1 || echo "status $?"
' bash "$directory" "$3" "$4"
"#;
        let binary = binary();
        let [capabilities, started_by, arguments] =
            [capabilities, started_by, arguments].map(OsStr::new);
        sh(
            script,
            &[binary.as_os_str(), capabilities, started_by, arguments],
        )
    }

    fn assert_read(said: &str) {
        let read = said.starts_with("CONNTRACK is OK: ") && said.contains(" endpoint=3;10");
        assert!(read, "{said}");
    }

    fn assert_not_read(said: &str) {
        let unread = said.starts_with("CONNTRACK is UNKNOWN: ")
            && said.contains("endpoint not measured: ")
            && said.contains("CAP_NET_ADMIN")
            && said.ends_with("status 3\n");
        assert!(unread, "{said}");
    }

    #[test]
    fn permitted_capabilities_of_the_file_are_enough() {
        let by_an_agent = format!("{USER} env");
        assert_read(&says("cap_net_admin=p", &by_an_agent, TABLE));
        assert_not_read(&says("cap_net_raw=p", &by_an_agent, TABLE));
        assert_not_read(&says("", &by_an_agent, TABLE));
    }

    #[test]
    fn no_new_privileges_keep_them_from_taking_effect() {
        let said = says(
            "cap_net_admin=p",
            &format!("{USER} setpriv --no-new-privs"),
            TABLE,
        );
        assert_not_read(&said);
    }

    #[test]
    fn a_bounding_set_without_them_lets_the_check_run_with_less_but_not_where_they_are_effective() {
        let bounded = format!("{USER} --bounding-set=-net_admin env");
        assert_not_read(&says("cap_net_admin=p", &bounded, TABLE));
        let said = says("cap_net_admin=ep", &bounded, TABLE);
        assert!(
            said.contains("Operation not permitted") && said.ends_with("status 126\n"),
            "{said}"
        );
    }

    #[test]
    fn ambient_capabilities_survive_no_new_privileges() {
        let ambient = format!(
            "{USER} --inh-caps=+net_admin --ambient-caps=+net_admin setpriv --no-new-privs"
        );
        assert_read(&says("", &ambient, TABLE));
    }

    #[test]
    fn what_says_where_to_read_is_refused_only_while_they_take_effect() {
        let where_to_read = "--proc-root /proc";
        let refused = says("cap_net_admin=p", &format!("{USER} env"), where_to_read);
        assert!(
            refused.starts_with("CONNTRACK is UNKNOWN: --proc-root refused: "),
            "{refused}"
        );
        let without = format!("{USER} setpriv --no-new-privs");
        let taken = says("cap_net_admin=p", &without, where_to_read);
        assert!(taken.starts_with("CONNTRACK is OK: "), "{taken}");
    }
}
