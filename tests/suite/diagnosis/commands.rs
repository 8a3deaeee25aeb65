//! The commands that the advice prints: each has a test that runs it as somebody would who pastes it.

use std::path::{Path, PathBuf};

/// Words by which a command of the advice begins in the source.
const BEGINNINGS: [&str; 10] = [
    "sysctl -w ",
    "systemctl ",
    "ss -",
    "nft ",
    "conntrack -L",
    "iptables ",
    "{iptables} ",
    "cat ",
    "modprobe ",
    "check_conntrack --",
];

/// The beginning of each command as the source has it, and the test that runs it.
const TEMPLATES: [(&str, &str); 26] = [
    (
        "sysctl -w net.netfilter.nf_conntrack_max={}{buckets}",
        "a_larger_limit_and_more_buckets_are_set",
    ),
    (
        "sysctl -w net.netfilter.nf_conntrack_buckets={wanted}",
        "few_hash_buckets_are_the_reason_however_empty_the_table_is",
    ),
    (
        "sysctl -w {name}={}",
        "a_limit_below_the_configured_one_is_named_with_its_file",
    ),
    (
        "sysctl -w net.ipv4.ip_local_port_range=1024\\\\ 65535",
        "the_source_ports_of_this_host_are_a_metric",
    ),
    (
        "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established={}",
        "connections_whose_ends_are_gone_have_vanished_peers",
    ),
    (
        "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_recv={}",
        "half_open_connections_of_many_clients_are_a_flood",
    ),
    (
        "systemctl stop {unit}",
        "a_service_is_stopped_and_restarted_by_the_name_that_it_has",
    ),
    (
        "systemctl restart {unit}",
        "a_service_is_stopped_and_restarted_by_the_name_that_it_has",
    ),
    (
        "systemctl status {pid}",
        "the_process_of_a_scan_is_looked_up_by_its_id",
    ),
    (
        "systemctl status nftables firewalld ufw",
        "the_services_of_firewalls_are_looked_up_by_name",
    ),
    (
        "modprobe nf_conntrack loads the module)",
        "the_services_of_firewalls_are_looked_up_by_name",
    ),
    (
        "ss -tnp{to}",
        "attempts_to_connect_are_shown_with_their_program",
    ),
    (
        "ss -tnp state syn-sent dst {address}",
        "attempts_to_connect_are_shown_with_their_program",
    ),
    (
        "ss -tnp state syn-sent",
        "attempts_to_connect_are_shown_with_their_program",
    ),
    (
        "ss -tnp",
        "attempts_to_connect_are_shown_with_their_program",
    ),
    (
        "ss -aunp",
        "sockets_that_send_datagrams_are_shown_with_their_program",
    ),
    (
        "ss -awnp",
        "sockets_that_send_datagrams_are_shown_with_their_program",
    ),
    (
        "nft add table {family} lim \\\\",
        "one_client_that_opens_and_closes_is_named_with_the_service_it_dials",
    ),
    (
        "nft list ruleset",
        "the_rules_and_the_dying_entries_are_listed",
    ),
    (
        "conntrack -L dying",
        "the_rules_and_the_dying_entries_are_listed",
    ),
    (
        "iptables -t raw -I {chain} -p udp --{side} 53 -j CT --notrack",
        "queries_to_a_name_server_of_this_host_are_not_tracked_any_more",
    ),
    (
        "iptables -t raw -I {chain} -p {matched} -j CT --notrack",
        "datagrams_that_go_both_ways_without_answers_are_a_tunnel",
    ),
    (
        "{iptables} -I INPUT -s {address} -p tcp -m multiport ! --dports {ports} -m conntrack --ctstate NEW -j DROP",
        "a_scan_of_the_ports_of_this_host_is_coming_in",
    ),
    (
        "check_conntrack --top -v",
        "the_whole_table_is_read_by_this_program",
    ),
    ("cat {path}", "an_incident_is_shown"),
    (
        "nft list ruleset",
        "the_rules_and_the_dying_entries_are_listed",
    ),
];

/// The files whose strings are advice.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let advice = std::fs::read_dir(root.join("report/advice")).expect("the source");
    let advice = advice.map(|entry| entry.expect("a file").path());
    let others = ["pipeline/diagnosis.rs", "pipeline/told.rs"].map(|name| root.join(name));
    advice.chain(others).collect()
}

/// The commands in the strings of a source, up to their brackets or their end.
fn commands(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code.lines().map(str::trim);
    let code = code.filter(|line| !line.starts_with("//"));
    let mut found = Vec::new();
    for line in code {
        for beginning in BEGINNINGS {
            let places = line.match_indices(beginning);
            // a command begins a string, or stands behind another word of it
            let begins =
                |at: &usize| line[..*at].ends_with(['"', ' ', '(']) && line[..*at].contains('"');
            for at in places.map(|(at, _)| at).filter(begins) {
                let rest = &line[at..];
                let ends = [" (", "\"", ";", " ends", " frees"];
                let end = ends.iter().filter_map(|end| rest.find(end)).min();
                found.push(rest[..end.unwrap_or(rest.len())].trim().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_command_of_the_advice_has_a_test_that_runs_it() {
    let mut missing = Vec::new();
    let mut seen = Vec::new();
    for path in sources() {
        let source = std::fs::read_to_string(&path).expect("the source");
        for command in commands(&source) {
            if !TEMPLATES.iter().any(|(template, _)| *template == command) {
                missing.push(format!("{}: {command}", path.display()));
            }
            seen.push(command);
        }
    }
    assert!(missing.is_empty(), "no test runs {missing:#?}");
    let tests = ["commands.rs", "situations.rs"].map(|name| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/diagnosis");
        std::fs::read_to_string(folder.join(name)).expect("the tests")
    });
    for (template, test) in TEMPLATES {
        assert!(seen.iter().any(|command| command == template), "{template}");
        let name = format!("fn {test}()");
        assert!(tests.iter().any(|tests| tests.contains(&name)), "{test}");
    }
}

/// On a systemd that is booted for it.
mod booted {
    use crate::common::new_folder;
    use crate::common::programs::{file, printed, program};

    #[test]
    fn a_real_systemd_takes_the_commands_of_systemctl() {
        let folder = new_folder();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            r"app\x2dworker@.service",
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep infinity\n",
        );
        write(
            "commands",
            r#"
            pid() { systemctl show --property MainPID --value 'app\x2dworker@1.service'; }
            systemctl start 'app\x2dworker@1.service'
            first=$(pid)
            tail -n 1 "/proc/$first/cgroup"
            systemctl --no-pager status $first
            systemctl restart app\\x2dworker@1.service
            second=$(pid)
            test "$second" -gt 0 && test "$second" != "$first" && echo restarted
            systemctl stop app\\x2dworker@1.service
            test "$(pid)" = 0 && echo stopped
            systemctl --no-pager status nftables firewalld ufw
            "#,
        );
        let printed = printed(
            program("bash")
                .arg(file("scripts/under-systemd"))
                .arg(folder.path()),
        );
        let at = |part: &str| {
            let at = printed.find(part);
            at.unwrap_or_else(|| panic!("{part} in\n{printed}"))
        };
        // the name by which the advice knows the unit is the last part of this path
        let places = [
            "/app\\x2dworker@1.service\n",
            "Main PID: ",
            "\nrestarted\n",
            "\nstopped\n",
            "ufw",
        ]
        .map(at);
        assert!(places.is_sorted(), "{printed}");
    }
}

/// In a network and a process namespace, so that no other process has a part in it.
mod pidns {
    use std::net::UdpSocket;
    use std::os::unix::fs::PermissionsExt;

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, cover, loopback_up};
    use crate::common::programs::{printed, printed_for, program, run};
    use crate::common::{Answer, BUCKETS, MAX, conntrack, new_folder};
    use crate::diagnosis::scene::{
        FAR, HOST, Scene, attempt, client, datagrams, does, line, link, namespace_of, over, says,
        send_syn,
    };

    /// The output of a command without the words in brackets behind it, with these programs first in its PATH.
    fn shown(advice: &str, path: &str) -> String {
        let (command, _) = advice.split_once(" (").unwrap_or((advice, ""));
        let all = format!("{path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut shell = program("sh");
        printed(shell.args(["-c", command]).env("PATH", all))
    }

    /// A folder with a program of this name that prints its arguments, one a line.
    fn stand_in(name: &str) -> tempfile::TempDir {
        let folder = new_folder();
        let path = folder.path().join(name);
        std::fs::write(&path, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn silent(scene: &Scene, port: u16) -> Vec<std::os::fd::OwnedFd> {
        scene.far_drops("meta l4proto tcp");
        (0..100)
            .map(|n| attempt((HOST, 10_000 + n), (FAR, port)))
            .collect()
    }

    fn number(name: &str) -> u32 {
        let path = format!("/proc/{name}");
        let text = std::fs::read_to_string(path).unwrap();
        text.trim().parse().unwrap()
    }

    #[test]
    fn a_larger_limit_and_more_buckets_are_set() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        cover(BUCKETS, "24\n");
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        let answer = scene.says(&["95.2% full"]);
        let before = conntrack::count();
        // a namespace of its own may read the limit and not set it
        assert!(line(&answer, "now").contains("(on the host itself; room for "));
        does(line(&answer, "now"));
        assert_eq!(
            (number(MAX), number(BUCKETS)),
            (256, 256),
            "{}",
            answer.text
        );
        assert_eq!(conntrack::count(), before, "no entry is lost");
    }

    #[test]
    fn a_service_is_stopped_and_restarted_by_the_name_that_it_has() {
        let path = stand_in("systemctl");
        let path = path.path().to_str().unwrap();
        let name = r"app\x2dworker@1.service";
        for verb in ["stop", "restart"] {
            // the advice doubles the backslash, which the shell takes back
            let printed = shown(&format!(r"systemctl {verb} app\\x2dworker@1.service"), path);
            assert_eq!(printed.lines().collect::<Vec<_>>(), [verb, name]);
        }
    }

    #[test]
    fn the_process_of_a_scan_is_looked_up_by_its_id() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("masscan", 155);
        scene.far_drops("meta l4proto tcp");
        let _attempts: Vec<_> = (0..150)
            .map(|n| attempt((HOST, 10_000 + n), (client(n), 23)))
            .collect();
        let answer = scene.says(&["scan going out: masscan"]);
        let path = stand_in("systemctl");
        let printed = shown(line(&answer, "look"), path.path().to_str().unwrap());
        let own = std::process::id().to_string();
        assert_eq!(printed.lines().collect::<Vec<_>>(), ["status", &own]);
    }

    #[test]
    fn the_services_of_firewalls_are_looked_up_by_name() {
        let root = new_folder();
        std::fs::create_dir_all(root.path().join("sys/net")).unwrap();
        let arguments = [
            "--proc-root",
            root.path().to_str().unwrap(),
            "--state-dir",
            "/nonexistent",
        ];
        let answer: Answer = crate::common::answer(arguments);
        let path = stand_in("systemctl");
        let printed = shown(line(&answer, "look"), path.path().to_str().unwrap());
        assert_eq!(
            printed.lines().collect::<Vec<_>>(),
            ["status", "nftables", "firewalld", "ufw"]
        );
        assert!(
            answer
                .text
                .contains("(was the firewall loaded? modprobe nf_conntrack loads")
        );
    }

    #[test]
    fn attempts_to_connect_are_shown_with_their_program() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("checkout", 155);
        let _attempts = silent(&scene, 443);
        let me = format!("pid={}", std::process::id());
        for command in [
            "ss -tnp state syn-sent",
            "ss -tnp state syn-sent dst 10.9.0.2",
            "ss -tnp dst 10.9.0.2",
            "ss -tnp",
        ] {
            let shown = run(command);
            let lines = shown.lines().filter(|line| line.contains("10.9.0.2:443"));
            assert_eq!(
                lines.filter(|line| line.contains(&me)).count(),
                100,
                "{command}"
            );
        }
        assert!(!run("ss -tnp state syn-sent dst 10.9.0.3").contains(&me));
    }

    #[test]
    fn sockets_that_send_datagrams_are_shown_with_their_program() {
        inside!(Namespaces::Processes);
        let _scene = Scene::new("checkout", 157);
        let me = format!("pid={}", std::process::id());
        let is_shown = |command: &str| run(command).contains(&me);
        assert!(!is_shown("ss -aunp") && !is_shown("ss -awnp"));
        let _datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_shown("ss -aunp") && !is_shown("ss -awnp"));
        let _raw = send_syn(std::net::Ipv4Addr::LOCALHOST, 0..0);
        assert!(is_shown("ss -awnp"));
    }

    #[test]
    fn the_rules_and_the_dying_entries_are_listed() {
        inside!(Namespaces::Processes);
        let _scene = Scene::new("nginx", 105);
        assert!(run("nft list ruleset").contains("ct state new"));
        run("conntrack -L dying");
    }

    #[test]
    fn queries_to_a_name_server_of_this_host_are_not_tracked_any_more() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("unbound", 105);
        let _resolver = UdpSocket::bind((HOST, 53)).unwrap();
        let ask = || {
            scene.over_there(|| {
                (0..100)
                    .flat_map(|n| datagrams(client(n), (HOST, 53), 1))
                    .collect::<Vec<_>>()
            })
        };
        let queries = ask();
        let answer = scene.says(&["DNS: 100 clients of :53/udp"]);
        let (_, commands) = line(&answer, "fix").split_once(": ").unwrap();
        does(commands);
        conntrack::flush();
        drop(queries);
        let _queries = ask();
        assert_eq!(conntrack::count(), 0);
    }

    #[test]
    fn commands_for_another_network_namespace_work_from_the_host() {
        inside!(Namespaces::Processes);
        loopback_up();
        let pod = Neighbour::with_entries(0);
        link("pod", 1, &pod);
        // no entry ends before it is counted, however slow this host is
        pod.run("sysctl -q -w net.netfilter.nf_conntrack_udp_timeout=3600");
        run("ip route add local 10.20.0.0/16 dev lo");
        let mut nft = program("nsenter");
        nft.args(&pod.words()[1..]).args(["nft", "-f", "-"]);
        printed_for(
            "table inet track { chain in { type filter hook input priority 0; ct state new accept; }; }",
            &mut nft,
        );
        cover(MAX, "105\n");
        let address = std::net::Ipv4Addr::new(10, 9, 1, 2);
        let _resolver = over(&namespace_of(pod.pid()), || {
            UdpSocket::bind((address, 53)).unwrap()
        });
        let ask = || {
            (0..100)
                .flat_map(|n| datagrams(client(n), (address, 53), 1))
                .collect::<Vec<_>>()
        };
        let queries = ask();
        let answer = says(
            ["--netns", "all", "--top"],
            &["DNS: 100 clients of :53/udp"],
        );
        let (_, command) = line(&answer, "fix").split_once(": ").unwrap();
        let (command, second) = command.split_once("; ").unwrap();
        let inside = format!("nsenter -t {} -n iptables ", pod.pid());
        assert!(command.starts_with(&inside), "{command}");
        assert!(
            second.starts_with("again with OUTPUT and --sport ("),
            "{second}"
        );
        does(command);
        does(
            &command
                .replace("PREROUTING", "OUTPUT")
                .replace("--dport", "--sport"),
        );
        let count = "cat /proc/sys/net/netfilter/nf_conntrack_count";
        assert_eq!(pod.run(count).trim(), "100");
        pod.run("conntrack -F");
        drop(queries);
        let _more_queries = ask();
        assert_eq!(pod.run(count).trim(), "0");
    }

    #[test]
    fn the_whole_table_is_read_by_this_program() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        scene.limit(105);
        let look = crate::common::answer([""; 0]);
        let look = line(&look, "look").to_owned();
        let (command, _) = look.split_once(" (").unwrap();
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        let answer = crate::common::answer(arguments.as_slice());
        assert!(
            answer.text.contains("1. to 10.9.0.2:7000/udp: 100 entries"),
            "{}",
            answer.text
        );
    }

    #[test]
    fn an_incident_is_shown() {
        let folder = new_folder();
        let path = folder.path().join("20261128T025830Z.txt");
        std::fs::write(&path, "sidekiq.service\n").unwrap();
        let advice = format!(
            "cat {} (as root: the table as the recorder saw it)",
            path.display()
        );
        assert_eq!(shown(&advice, "/nonexistent"), "sidekiq.service\n");
    }
}
