//! --netns all: every network namespace that has a process here, on proc roots made for it and live.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use check_conntrack::cli;
use check_conntrack::model::netns::Walk;
use check_conntrack::source::{self, procfs};

use crate::common::{Answer, BUCKETS, COUNT, MAX, ProcRoot, STATISTICS_HEADER, statistics_row};

/// A host whose own network namespace is that of process 1, which holds so many entries of so many.
fn host(count: u32, max: u32) -> ProcRoot {
    let root = ProcRoot::empty();
    root.file(COUNT, format!("{count}\n"))
        .file(MAX, format!("{max}\n"))
        .file(BUCKETS, format!("{max}\n"))
        .file(
            "sys/kernel/random/boot_id",
            "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7\n",
        );
    namespace(&root, 1, count, 0);
    process(&root, 1, "systemd", "/init.scope");
    symlink("1", root.path().join("self")).unwrap();
    symlink("self/net", root.path().join("net")).unwrap();
    at(&root, 1000);
    root
}

/// So many seconds after the host was started.
fn at(root: &ProcRoot, seconds: u32) {
    root.file("uptime", format!("{seconds}.00 0.00\n"));
}

/// A process in a network namespace that holds so many entries and has dropped so many packets. Written again it is the
/// same one.
fn namespace(root: &ProcRoot, pid: i32, entries: u32, drop: u32) {
    let row = statistics_row(drop, 0, 0, 0).replacen("00000000", &format!("{entries:08x}"), 1);
    root.file(
        &format!("{pid}/net/stat/nf_conntrack"),
        format!("{STATISTICS_HEADER}{row}"),
    );
}

fn process(root: &ProcRoot, pid: i32, command: &str, cgroup: &str) {
    root.file(&format!("{pid}/comm"), format!("{command}\n"))
        .file(&format!("{pid}/cgroup"), format!("0::{cgroup}\n"));
}

/// A process in the network namespace of another.
fn shares(root: &ProcRoot, pid: i32, with: i32) {
    let path = root.join(&format!("{pid}/net/stat/nf_conntrack"));
    let its = root.path().join(format!("{with}/net/stat/nf_conntrack"));
    fs::hard_link(its, path).unwrap();
}

fn all(root: &ProcRoot, arguments: &[&str]) -> Answer {
    // no run is compared with another unless a test says so
    let state = ["--netns", "all", "--state-dir", "/nonexistent"];
    root.answer(&[&state, arguments].concat())
}

fn value(answer: &Answer, label: &str) -> String {
    let value = answer.value(label);
    value.unwrap_or_else(|| panic!("{label} in {}", answer.text))[0].clone()
}

#[test]
fn the_fullest_namespace_decides_and_is_named_by_its_unit() {
    let root = host(100, 1000);
    namespace(&root, 4711, 910, 7);
    let id = "4f2ac1d2e3f43f4e".repeat(4);
    process(
        &root,
        4711,
        "nginx",
        &format!("/system.slice/docker-{id}.scope"),
    );
    namespace(&root, 300, 500, 0);
    let got = all(&root, &[]);
    assert_eq!(got.code, 2, "{}", got.text);
    assert!(
        got.first_line().starts_with(
            "CONNTRACK is CRITICAL: 91.0% full in container 4f2ac1d2e3f4 (nginx[4711]), the worst of 3 network \
             namespaces - 910 of 1000 entries, usage above 90%|"
        ) && got.text.ends_with("\nthe host itself is 10.0% full\n"),
        "{}",
        got.text
    );
    assert_eq!(value(&got, "entries"), "910");
    assert_eq!(value(&got, "drop"), "7c");
    // 2 * (910 + 500 + 100) / 1000, all hang in the same chains
    assert_eq!(value(&got, "chain"), "3.0");
    assert_eq!(got.perfdata().last().unwrap(), "namespaces=3");
    assert!(got.fits_nrpe_2());
    // without the option it is what it was
    let own = root.answer(&[]);
    assert!(
        own.first_line().starts_with("CONNTRACK is OK: 10.0%") && own.value("namespaces").is_none(),
        "{}",
        own.text
    );
}

#[test]
fn the_own_namespace_is_read_from_its_sysctls_and_named_too() {
    let root = host(800, 1000);
    root.file(COUNT, "950\n");
    shares(&root, 500, 1);
    namespace(&root, 20, 940, 0);
    let got = all(&root, &[]);
    let expected = ": 95.0% full on the host itself, the worst of 2 network namespaces - 950 of 1000 entries, ";
    assert!(got.first_line().contains(expected), "{}", got.text);
    assert!(!got.text.contains("\nthe host itself"), "{}", got.text);
    let root = host(800, 1000);
    let got = all(&root, &[]);
    assert!(
        got.first_line()
            .contains(": 80.0% full (800 of 1000 entries, 200 free), the only network namespace|"),
        "{}",
        got.text
    );
}

#[test]
fn a_namespace_is_known_by_its_process_with_the_lowest_id() {
    let root = host(1, 1000);
    namespace(&root, 9000, 500, 0);
    for pid in [700, 80, 1000, 99] {
        shares(&root, pid, 9000);
        process(&root, pid, "worker", "/");
    }
    let got = all(&root, &[]);
    assert!(
        got.first_line()
            .contains(" in worker[80], the worst of 2 network namespaces|"),
        "{}",
        got.text
    );
}

#[test]
fn equal_namespaces_are_decided_by_the_lowest_process() {
    let root = host(1, 1000);
    for pid in [700, 80, 1000] {
        namespace(&root, pid, 500, 0);
        process(&root, pid, "worker", "/");
    }
    let got = all(&root, &["-v"]);
    assert!(
        got.first_line()
            .contains(" in worker[80], the worst of 4 network namespaces|"),
        "{}",
        got.text
    );
    let listed: Vec<&str> = got
        .text
        .lines()
        .filter(|line| line.starts_with("namespace "))
        .collect();
    assert_eq!(
        listed,
        [
            "namespace 2: 50.0% (500 entries), worker[700]",
            "namespace 3: 50.0% (500 entries), worker[1000]",
            "namespace 4: 0.1% (1 entry), systemd[1]",
        ]
    );
}

#[test]
fn processes_that_end_meanwhile_are_no_error() {
    let root = host(10, 1000);
    // gone before it was looked at, in every way
    fs::create_dir(root.path().join("50")).unwrap();
    symlink("nowhere", root.path().join("51")).unwrap();
    root.file("52", "")
        .file("x53", "")
        .file("054/net/stat/nf_conntrack", "");
    fs::create_dir_all(root.path().join("55/net/stat")).unwrap();
    symlink("nowhere", root.path().join("55/net/stat/nf_conntrack")).unwrap();
    let got = all(&root, &["-v"]);
    assert_eq!(got.code, 0, "{}", got.text);
    assert_eq!(value(&got, "namespaces"), "1");
    // gone before it was asked for its name
    namespace(&root, 60, 20, 0);
    let got = all(&root, &[]);
    assert!(
        got.first_line()
            .contains(" in process 60, the worst of 2 network namespaces|"),
        "{}",
        got.text
    );
}

#[test]
fn a_namespace_that_cannot_be_read_is_unknown_unless_another_is_worse() {
    let root = host(10, 1000);
    root.file("70/net/stat/nf_conntrack", "nonsense\n");
    process(&root, 70, "odd", "/");
    let got = all(&root, &[]);
    assert_eq!(got.code, 3, "{}", got.text);
    assert!(
        got.first_line()
            .contains("70/net/stat/nf_conntrack says nonsense, not a header and rows")
            && got
                .first_line()
                .contains(" in odd[70], the worst of 2 network namespaces|"),
        "{}",
        got.text
    );
    assert_eq!(
        got.text.matches("nonsense").count(),
        1,
        "said once: {}",
        got.text
    );
    root.file("70/net/stat/nf_conntrack", STATISTICS_HEADER);
    assert_eq!(all(&root, &[]).code, 3);
    // without one of them there is no sum, so the chains are those of the own entries
    root.file(COUNT, "850\n").file(BUCKETS, "100\n");
    let got = all(&root, &["-v", "-w", "chain=20"]);
    assert!(got.first_line().contains("WARNING: 85.0%"), "{}", got.text);
    assert_eq!(value(&got, "chain"), "17.0");
    assert!(
        got.text.contains("\nnamespace 2: ") && got.text.contains(", UNKNOWN, odd[70]\n"),
        "{}",
        got.text
    );
}

#[test]
fn without_the_own_file_the_others_are_unknown() {
    let root = host(10, 1000);
    root.remove("1/net/stat/nf_conntrack");
    namespace(&root, 70, 1000, 0);
    let got = all(&root, &[]);
    assert_eq!(got.code, 3, "{}", got.text);
    assert!(
        got.first_line().starts_with(
            "CONNTRACK is UNKNOWN: 1.0% full - 10 of 1000 entries, other network namespaces could not be checked: "
        ) && got.first_line().contains("CONFIG_NF_CONNTRACK_PROCFS"),
        "{}",
        got.text
    );
    assert_eq!(got.value("namespaces"), None);
    // what is seen outweighs it
    assert_eq!(all(&root, &["-w", "entries=5"]).code, 1);
}

#[test]
fn a_kernel_that_does_not_track_has_no_namespaces_to_judge() {
    let root = ProcRoot::empty();
    for (state, code) in [("ok", 0), ("warning", 1), ("critical", 2), ("unknown", 3)] {
        let got = all(&root, &["--absent", state]);
        assert_eq!(got.code, code, "{}", got.text);
        assert!(got.first_line().contains("does not track") && !got.text.contains("namespace"));
    }
}

#[test]
fn what_is_lost_elsewhere_is_told_and_decides_where_somebody_said_so() {
    let root = host(500, 1000);
    namespace(&root, 70, 400, 5);
    namespace(&root, 80, 300, 1);
    namespace(&root, 90, 200, 9);
    process(&root, 80, "ruby", "/system.slice/sidekiq.service");
    let state = crate::common::new_folder();
    let run = |arguments: &[&str]| {
        let state = [
            "--netns",
            "all",
            "--state-dir",
            state.path().to_str().unwrap(),
        ];
        root.answer(&[&state, arguments].concat())
    };
    let both = |seconds| {
        at(&root, seconds);
        (run(&["-v"]), run(&["-w", "lost=0", "-v"]))
    };
    let (quiet, judged) = both(1000);
    for first in [&quiet, &judged] {
        assert_eq!(first.code, 0, "{}", first.text);
        assert!(!first.text.contains("lost packets"), "{}", first.text);
    }
    namespace(&root, 80, 300, 13);
    let (quiet, judged) = both(1300);
    assert_eq!(quiet.code, 0, "{}", quiet.text);
    assert!(
        quiet
            .first_line()
            .contains(" on the host itself, the worst of 4 network namespaces, 1 other network namespace lost packets|"),
        "{}",
        quiet.text
    );
    assert!(
        quiet.text.contains(
            "\nnamespace 3: 30.0% (300 entries), sidekiq.service (ruby[80]), 12 packets lost in the last 5m\n"
        ),
        "{}",
        quiet.text
    );
    assert_eq!(judged.code, 1, "{}", judged.text);
    assert!(
        judged.first_line().contains(
            ": 30.0% full in sidekiq.service (ruby[80]), the worst of 4 network namespaces, lost 12 packets in the last 5m ("
        ),
        "{}",
        judged.text
    );
    assert!(
        judged
            .first_line()
            .contains(" - 300 of 1000 entries, lost above 0|"),
        "{}",
        judged.text
    );
    assert!(!judged.text.contains("other network namespace lost"));
    assert_eq!(value(&judged, "lost"), "12");
    namespace(&root, 80, 300, 14);
    namespace(&root, 70, 400, 6);
    at(&root, 1600);
    let got = run(&[]);
    assert!(
        got.first_line()
            .contains(", 2 other network namespaces lost packets, see -v|"),
        "the line of -v is another service, and this one saw them before: {}",
        got.text
    );
}

#[test]
fn what_does_not_fit_is_left_out_by_whole_lines() {
    let root = host(0, 1000);
    for pid in 100..300 {
        namespace(&root, pid, 1000 - pid as u32, 0);
        process(
            &root,
            pid,
            "postgres",
            "/system.slice/postgresql@17-main.service",
        );
    }
    // what all share would alert for each
    let got = all(&root, &["-v", "-w", "chain=~:"]);
    assert!(got.text.contains(
        "\nnamespace 2: 89.9% (899 entries), WARNING, postgresql@17-main.service (postgres[101])\n"
    ));
    let last = got.text.lines().last().unwrap();
    let listed = got.text.matches("\nnamespace ").count();
    // each namespace but the one that decides, and the host itself
    assert_eq!(last, format!("{} more lines not shown", 200 - listed));
    assert!(listed > 30, "{}", got.text);
    assert!(all(&root, &[]).fits_nrpe_2());
}

#[test]
fn a_walk_that_is_cut_short_sums_nothing() {
    let root = host(10, 1000);
    namespace(&root, 70, 10, 0);
    let walk = |deadline| procfs::netns::all(root.path(), source::usage(root.path()), deadline);
    let cut_short = walk(Instant::now());
    assert_eq!((cut_short.walk, cut_short.others.len()), (Walk::Partial, 0));
    assert_eq!(cut_short.entries_of_all(), None);
    let whole = walk(Instant::now() + Duration::from_secs(60));
    assert_eq!((whole.walk, whole.others.len()), (Walk::Complete, 1));
    assert_eq!(whole.entries_of_all(), Some(20));
}

/// The answer of a check whose time for the walk was up before it began.
fn without_time(root: &ProcRoot, arguments: &[&str]) -> (u8, String) {
    let fixed = [
        "check_conntrack",
        "--proc-root",
        root.path().to_str().unwrap(),
        "--netns",
        "all",
        "--state-dir",
        "/nonexistent",
    ];
    let words = fixed.iter().chain(arguments).map(Into::into);
    let options = match cli::parse(words, cli::Elevation::None) {
        Ok(cli::Request::Check(options)) => options,
        other => panic!("{other:?}"),
    };
    let begin = Instant::now() - Duration::from_secs(options.timeout.into());
    // it gives up the capabilities of the thread that it runs in
    let run = || check_conntrack::run(&options, begin, |_| ()).0;
    let report = std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    (report.state.exit_code() as u8, report.text)
}

#[test]
fn a_walk_that_is_cut_short_is_unknown_unless_what_was_seen_is_worse() {
    let root = host(10, 1000);
    namespace(&root, 70, 950, 0);
    let (code, text) = without_time(&root, &[]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.starts_with("CONNTRACK is UNKNOWN: 1.0% full, the only network namespace - ")
            && text.contains(
                ", other network namespaces could not be checked: timed out before every process was looked at"
            )
            && !text.contains("namespaces="),
        "{text}"
    );
    for (arguments, expected) in [(["-w", "entries=5"], 1), (["-c", "entries=5"], 2)] {
        let (code, text) = without_time(&root, &arguments);
        assert_eq!(code, expected, "{text}");
        assert!(text.contains("could not be checked: timed out"), "{text}");
    }
    let whole = all(&root, &["-w", "96", "-c", "97"]);
    assert_eq!((whole.code, value(&whole, "namespaces").as_str()), (0, "2"));
}

/// Tests that need strace have it in their name.
mod strace {
    use super::{host, namespace};
    use crate::common::Answer;
    use crate::common::plugin::check_after;

    #[test]
    fn a_check_that_is_slow_to_list_the_processes_is_unknown() {
        let root = host(10, 1000);
        namespace(&root, 70, 10, 0);
        let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"];
        // files and processes have half of the time limit, and this is more
        let delay = "inject=getdents64:delay_enter=5000000:when=1";
        let arguments = ["--netns", "all", "-t", "9", "--proc-root"];
        let mut check = check_after(&[&slow[..], &[delay]].concat(), arguments);
        let got = Answer::of(check.arg(root.path()).output().unwrap());
        assert_eq!(got.code, 3, "{}", got.text);
        let why = ", other network namespaces could not be checked: timed out before ";
        assert!(got.first_line().contains(why), "{}", got.text);
    }
}

#[test]
fn the_table_is_that_of_the_deciding_namespace() {
    let root = host(10, 1000);
    namespace(&root, 70, 950, 0);
    process(&root, 70, "ruby", "/system.slice/sidekiq.service");
    let line = |file: &str, port: u32, far: &str| {
        let path = root.join(file);
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        text += &format!(
            "ipv4     2 tcp      6 299 ESTABLISHED src=10.0.0.1 dst={far} sport={port} dport=6379 src={far} \
             dst=10.0.0.1 sport=6379 dport={port} [ASSURED] mark=0 use=1\n"
        );
        fs::write(path, text).unwrap();
    };
    for port in 0..950 {
        line("70/net/nf_conntrack", 1024 + port, "192.0.2.7");
    }
    line("1/net/nf_conntrack", 9, "203.0.113.9");
    let trie = |ip: &str| {
        format!("Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- {ip}\n        /32 host LOCAL\n")
    };
    root.file("70/net/fib_trie", trie("10.0.0.1"));
    root.file("1/net/fib_trie", trie("192.0.2.7"));
    let got = all(&root, &["--top", "1", "-c", "endpoint=900"]);
    assert_eq!(got.code, 2, "{}", got.text);
    assert!(
        got.first_line().contains(
            ": 95.0% full in sidekiq.service (ruby[70]), the worst of 2 network namespaces - "
        ) && got
            .first_line()
            .contains(" - 950 of 1000 entries, usage above 90%, endpoint 950 above 900|"),
        "{}",
        got.text
    );
    assert!(
        got.text
            .contains("\n1. to 192.0.2.7:6379/tcp: 950 entries, 100.0%, ESTABLISHED 100%\n"),
        "{}",
        got.text
    );
    assert_eq!(value(&got, "established"), "950");
    let perfdata = got.perfdata();
    assert_eq!(
        perfdata[perfdata.len() - 2..],
        ["namespaces=2", "ports=0.0%"]
    );
    // a metric of the table of the own namespace has no say, and none at all while nothing was read of it
    let got = all(&root, &["-w", "97", "-c", "98", "-w", "established=940"]);
    assert_eq!(got.code, 1, "{}", got.text);
    // the sockets of that namespace, where its table may not be seen
    root.remove("70/net/nf_conntrack");
    let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    root.file(
        "70/net/tcp",
        format!("{header}   0: 0100000A:0400 070200C0:18EB 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 20 4 30 10 -1\n"),
    );
    root.file("1/net/tcp", header);
    let got = all(&root, &["--top", "1"]);
    assert!(
        got.first_line()
            .contains(", sees 1 of 950 entries (")
            && got.text.contains(
                "\n1. to 192.0.2.7:6379/tcp: 1 socket, ESTABLISHED 100%, uid 1000 (no process) 1 connection\n"
            ),
        "{}",
        got.text
    );
}

#[test]
fn a_capture_is_of_one_namespace() {
    let got = ProcRoot::empty().answer(&["--netns", "all", "--table", "-"]);
    assert_eq!(
        (got.code, got.text.as_str()),
        (
            3,
            "CONNTRACK is UNKNOWN: --netns all cannot be used with --table: a capture covers a single network namespace\n"
        )
    );
}

/// The real kernel. A process namespace keeps what runs elsewhere on this host from being seen.
mod pidns {
    use crate::common::conntrack::{self, udp};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, cover, loopback_up};
    use crate::common::plugin::{UNPRIVILEGED, check_after};
    use crate::common::{Answer, BUCKETS, MAX, new_folder};

    /// The words that start a program without CAP_SYS_ADMIN.
    const WITHOUT_ADMIN: [&str; 2] = ["setpriv", "--bounding-set=-sys_admin"];

    /// A host with a limit of 1000.
    fn set_up() {
        loopback_up();
        cover(MAX, "1000\n");
    }

    /// Looks at all namespaces, started by these words.
    fn all(words: &[&str], arguments: &[&str]) -> Answer {
        let arguments = [&["--netns", "all"][..], arguments].concat();
        Answer::of(check_after(words, arguments).output().unwrap())
    }

    fn value(answer: &Answer, label: &str) -> String {
        let value = answer.value(label);
        value.unwrap_or_else(|| panic!("{label} in {}", answer.text))[0].clone()
    }

    #[test]
    fn the_fullest_of_several_decides_for_every_user() {
        inside!(Namespaces::Processes);
        set_up();
        let few = Neighbour::with_entries(5);
        let full = Neighbour::with_entries(850);
        let some = Neighbour::with_entries(300);
        let second_process = full.start("sleep infinity");
        cover(BUCKETS, "100\n");
        let without_chain = ["-w", "chain=~:", "-v"];
        let root = all(&[], &without_chain);
        let plain = all(&UNPRIVILEGED, &without_chain);
        assert_eq!((root.code, plain.code), (1, 1), "{}", root.text);
        assert_eq!(root.text, plain.text);
        let first = format!(
            "CONNTRACK is WARNING: 85.0% full in sleep[{}], the worst of 4 network namespaces - 850 of 1000 entries, \
             usage above 80%|",
            full.pid()
        );
        assert!(root.text.starts_with(&first), "{}", root.text);
        assert!(
            root.text.contains(&format!(
                "\nnamespace 2: 30.0% (300 entries), sleep[{}]\nnamespace 3: 0.5% (5 entries), sleep[{}]\nnamespace 4: \
                 0.0% (0 entries), ",
                some.pid(),
                few.pid()
            )),
            "{}",
            root.text
        );
        // 2 * 1155 / 100
        assert_eq!(value(&root, "chain"), "23.1");
        let chain = all(&UNPRIVILEGED, &["-w", "95", "-c", "98", "-w", "chain=20"]);
        assert_eq!((chain.code, value(&chain, "entries").as_str()), (1, "850"));
        assert!(chain.text.contains(", mean hash chain 23.1 above 20"));
        drop((full, second_process));
        let less = all(&UNPRIVILEGED, &["-w", "chain=~:"]);
        assert_eq!((less.code, value(&less, "namespaces").as_str()), (0, "3"));
        assert_eq!(value(&less, "entries"), "300");
    }

    #[test]
    fn the_table_of_the_fullest_is_read_by_entering_it_where_that_is_permitted() {
        inside!(Namespaces::Processes);
        set_up();
        let _few = Neighbour::with_entries(5);
        let full = Neighbour::with_entries(950);
        full.run("ip addr add 198.51.100.7/32 dev lo");
        // the note on the source is one of the last lines, and the advice may leave it no room
        let look = ["--top", "1", "-w", "unreplied=900", "-v"];
        let entered = all(&[], &look);
        let files = all(&WITHOUT_ADMIN, &look);
        for answer in [&entered, &files] {
            assert_eq!(answer.code, 2, "{}", answer.text);
            assert_eq!(value(answer, "unreplied"), "950");
            // dialled in, because that namespace has the address
            assert!(
                answer
                    .first_line()
                    .contains(" clients of :53/udp of this host hold 100% of the entries")
                    && answer
                        .text
                        .contains("\ninbound 100%, top local services: 53/udp 100%\n"),
                "{}",
                answer.text
            );
        }
        assert!(!entered.text.contains("CAP_"), "{}", entered.text);
        assert!(
            files
                .text
                .contains("/net, entering the network namespace needs CAP_SYS_ADMIN\n"),
            "{}",
            files.text
        );
        for (words, source) in [
            (&[][..], "ctnetlink"),
            (&WITHOUT_ADMIN, "/proc/net/nf_conntrack"),
        ] {
            let detailed = all(words, &["--top", "1", "-v"]);
            let said = format!("\nentries read from {source}\n");
            assert!(detailed.text.contains(&said), "{}", detailed.text);
        }
        let sockets = all(
            &UNPRIVILEGED,
            &["--top", "1", "-w", "unreplied=900", "--source", "sockets"],
        );
        assert!(
            sockets.first_line().contains(", sees ")
                && sockets.first_line().contains(" of 950 entries")
                && sockets.value("unreplied").is_none(),
            "{}",
            sockets.text
        );
        let refused = all(&WITHOUT_ADMIN, &["--top", "1", "--source", "netlink"]);
        assert!(
            refused.first_line().contains(
                ", cannot see who holds the entries: the table of another network namespace needs CAP_SYS_ADMIN"
            ),
            "{}",
            refused.text
        );
        let asked = all(
            &[],
            &["--top", "1", "--source", "netlink", "-w", "96", "-c", "97"],
        );
        assert_eq!(
            (asked.code, value(&asked, "udp").as_str()),
            (0, "950"),
            "{}",
            asked.text
        );
    }

    /// The state holds the number of each namespace. The kernel uses the inodes of one that is gone again, and not that
    /// number.
    #[test]
    fn a_namespace_in_the_place_of_another_has_another_number() {
        inside!(Namespaces::Processes);
        set_up();
        let folder = new_folder();
        let state = folder.path().to_str().unwrap();
        let run = |words: &[&str], seconds: u32| {
            cover("uptime", &format!("{seconds}.00 0.00\n"));
            let got = all(words, &["--state-dir", state, "-c", "lost=0"]);
            assert_eq!(got.code, 0, "{}", got.text);
            got
        };
        let numbers = || -> Vec<String> {
            let files = std::fs::read_dir(state).unwrap();
            let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
            let lines: Vec<String> = texts
                .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
                .collect();
            let numbers = lines
                .iter()
                .filter_map(|line| line.strip_prefix("namespace "));
            numbers.map(str::to_owned).collect()
        };
        let pod = Neighbour::with_entries(5);
        run(&[], 1000);
        let before = numbers();
        drop(pod);
        let pod = Neighbour::with_entries(7);
        let second = run(&[], 1300);
        assert_eq!(value(&second, "lost"), "0", "{}", second.text);
        let after = numbers();
        run(&pod.words(), 1600);
        let last = numbers();
        assert_eq!((before.len(), after.len()), (2, 3), "{before:?} {after:?}");
        assert!(
            before
                .iter()
                .chain(&after)
                .all(|n| n.starts_with("routesocket "))
        );
        // the own one, the new one, and the one that is gone
        assert!(
            before.iter().all(|n| after.contains(n)),
            "{before:?} {after:?}"
        );
        // to a run inside another namespace they have the same numbers
        assert!(last.iter().all(|n| after.contains(n)), "{after:?} {last:?}");
    }

    #[test]
    fn the_own_namespace_is_one_of_the_others_to_who_is_elsewhere() {
        inside!(Namespaces::Processes);
        // the limit that is put over the file is not seen there
        set_up();
        let few = Neighbour::with_entries(5);
        conntrack::insert(&udp(1..=900));
        for how in [&[][..], &UNPRIVILEGED] {
            let words = [&few.words()[..], how].concat();
            let answer = all(&words, &["--top", "1", "-w", "unreplied=800"]);
            assert_eq!(answer.code, 1, "{}", answer.text);
            assert!(
                answer
                    .first_line()
                    .contains("[1], the worst of 2 network namespaces - ")
                    && answer.first_line().contains(" - 900 of "),
                "{}",
                answer.text
            );
            assert_eq!(value(&answer, "endpoint"), "900");
        }
    }
}

mod admin {
    use std::path::Path;

    use crate::common::folder::new_folder;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, loopback_up};
    use crate::common::plugin::{AS_NOBODY, start, with_defaults};
    use crate::common::programs::{Running, command_line, install, printed, program, run};
    use crate::common::{Answer, binary, conntrack, wait_for};
    use crate::roles::Role;

    /// A copy of the plugin that every user may run.
    fn for_everybody() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = new_folder();
        let plugin = folder.path().join("check_conntrack");
        install(binary(), &plugin);
        (folder, plugin)
    }

    /// The output of `--netns all` to user nobody below this proc root.
    fn to_nobody(words: &[&str], plugin: &Path, proc_root: &str) -> Answer {
        let arguments = with_defaults(["--proc-root", proc_root, "--netns", "all"]);
        let words = [words, &AS_NOBODY].concat();
        Answer::of(start(&words, plugin, &arguments).output().unwrap())
    }

    /// hidepid=1 refuses other users' processes, hidepid=2 and 4 hide them. A group that gid= names sees them, but with
    /// hidepid=4.
    #[test]
    fn hidden_processes_are_unknown_below_every_proc_root() {
        inside!(Namespaces::RootProcesses);
        let (_folder, plugin) = for_everybody();
        let _of_root = Neighbour::with_entries(0);
        let elsewhere = new_folder();
        let mut answers = Vec::new();
        for (options, code) in [
            ("hidepid=0", 0),
            ("hidepid=1", 3),
            ("hidepid=2", 3),
            ("hidepid=invisible", 3),
            ("hidepid=ptraceable", 3),
            ("hidepid=1,gid=65534", 0),
            ("hidepid=2,gid=65534", 0),
            ("hidepid=2,gid=4", 3),
            ("hidepid=ptraceable,gid=65534", 3),
        ] {
            for at in ["/proc", elsewhere.path().to_str().unwrap()] {
                printed(program("mount").args(["-t", "proc", "-o", options, "proc", at]));
                let got = to_nobody(&[], &plugin, at);
                assert_eq!(got.code, code, "{options} {at}: {}", got.text);
                answers.push((format!("{options} {at}"), at, got));
            }
        }
        // the words, once every state is right
        for (case, at, got) in answers {
            let text = &got.text;
            let told = format!(
                ", other network namespaces could not be checked: {at} hides processes of other users and so their"
            );
            assert_eq!(
                got.first_line().contains(&told),
                got.code == 3,
                "{case}: {text}"
            );
            let both = text
                .contains(" in the namespace of this check, the worst of 2 network namespaces|")
                && text.contains(" namespaces=2");
            assert_eq!(both, got.code == 0, "{case}: {text}");
        }
    }

    /// The process "sleep" that another one has started, after the time that this takes.
    fn sleeping_child(parent: u32) -> String {
        wait_for("a process that sleeps", || {
            let children =
                std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            let child = children
                .map_err(|error| error.to_string())?
                .trim()
                .to_owned();
            let comm = std::fs::read_to_string(format!("/proc/{child}/comm"));
            match comm.as_deref() {
                Ok("sleep\n") => Ok(child),
                _ => Err(format!("{child} {comm:?}")),
            }
        })
    }

    #[test]
    fn hidden_processes_are_unknown_where_process_1_is_the_users_own() {
        inside!(Namespaces::RootProcesses);
        let (_folder, plugin) = for_everybody();
        let mut seen = String::new();
        for (options, code) in [("hidepid=0", 0), ("hidepid=2", 3), ("hidepid=4", 3)] {
            let as_nobody = AS_NOBODY.join(" ");
            let line = format!("unshare -mpf --kill-child {as_nobody} sleep infinity");
            let namespace = Running::start(&mut command_line(&line));
            let init = sleeping_child(namespace.pid());
            let inside = ["nsenter", "-t", &init, "-m", "-p"];
            let words = inside.join(" ");
            run(&format!("{words} mount -t proc -o {options} proc /proc"));
            let of_root = format!("{words} unshare -n sleep infinity");
            let of_root = Running::start(&mut command_line(&of_root));
            sleeping_child(of_root.pid());
            let got = to_nobody(&inside, &plugin, "/proc");
            assert_eq!(got.code, code, "{options}: {}", got.text);
            if code == 0 {
                seen = got.text;
            }
        }
        // the words, once every state is right
        let both = " in the namespace of this check, the worst of 2 network namespaces|";
        assert!(seen.contains(both), "{seen}");
    }

    /// A process may go to another network namespace after it was looked at and before its namespace is entered. Here
    /// the file that is looked at and the link that is followed are of different namespaces from the beginning.
    #[test]
    fn a_namespace_that_the_process_has_left_is_left_again() {
        use check_conntrack::model::error::ReadError;
        use check_conntrack::model::netns::Sighting;
        use check_conntrack::source::enter_netns::go_to;
        use std::os::unix::fs::{MetadataExt, symlink};

        inside!(Namespaces::RootProcesses);
        let other = Neighbour::with_entries(0);
        let its = other.pid().to_string();
        let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        let root = crate::common::ProcRoot::empty();
        root.file("70/net/stat/nf_conntrack", "");
        let seen = Sighting {
            pid: 70,
            inode: std::fs::metadata(root.join("70/net/stat/nf_conntrack"))
                .unwrap()
                .ino(),
        };
        for (process, of) in [("70", its.as_str()), ("self", "thread-self")] {
            let namespace = root.join(&format!("{process}/ns/net"));
            symlink(format!("/proc/{of}/ns/net"), namespace).unwrap();
        }
        symlink("/proc/thread-self/net", root.join("self/net")).unwrap();
        // it changes the capabilities and the namespace of the thread that it runs in
        let (result, before, after) = std::thread::spawn(move || {
            let before = link("thread-self");
            let result = go_to(root.path(), true, seen);
            (result, before, link("thread-self"))
        })
        .join()
        .unwrap();
        assert_eq!(result.err(), Some(ReadError::ProcessGone { pid: 70 }));
        assert_eq!(before, after, "back where it was");
    }

    #[test]
    fn the_table_of_the_fullest_takes_capabilities_and_its_sockets_take_none() {
        inside!(Namespaces::RootProcesses);
        let (_folder, plugin) = for_everybody();
        let full = Neighbour::with_entries(100);
        let _connection = Role::udp_connection(&full.words(), "client", "127.0.0.1:53");
        // what a user with these capabilities says of the fullest namespace
        let with = |capabilities: &[&str], range: &[&str]| {
            let list: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
            let list = list.join(",");
            let [inheritable, ambient] =
                ["inh", "ambient"].map(|set| format!("--{set}-caps={list}"));
            let mut words = AS_NOBODY.to_vec();
            if !capabilities.is_empty() {
                words.extend([inheritable.as_str(), &ambient]);
            }
            let arguments = [&["--netns", "all", "--top", "1"][..], range].concat();
            let mut command = start(&words, &plugin, &with_defaults(arguments));
            let got = Answer::of(command.output().unwrap());
            assert!(
                got.first_line().contains(" in sleep[")
                    && got
                        .first_line()
                        .contains("], the worst of 2 network namespaces")
                    && got.value("entries").unwrap()[0] == "100",
                "{}",
                got.text
            );
            got
        };
        let range = ["-w", "unreplied=5"];
        for (capabilities, needs) in [
            (&[][..], "CAP_SYS_ADMIN"),
            (&["sys_ptrace", "net_admin"], "CAP_SYS_ADMIN"),
            (&["sys_admin", "net_admin"], "CAP_SYS_PTRACE"),
        ] {
            let got = with(capabilities, &range);
            assert_eq!(got.code, 3, "{}", got.text);
            assert!(
                got.first_line().contains(&format!(
                    ", unreplied not measured: the table of another network namespace needs {needs}, \
                     sees 1 of 100 entries (no {needs})|"
                )) && got.text.contains(
                    "\n1. to 127.0.0.1:53/udp local: 1 socket, UDP 100%, user root 1 connection\n"
                ),
                "{}",
                got.text
            );
            assert!(
                got.text.contains(&format!(
                    "/net, entering the network namespace needs {needs}\n"
                )),
                "{}",
                got.text
            );
        }
        // the file, as long as it is not too long to be read
        let in_detail = [&range[..], &["-v"]].concat();
        let all = ["sys_admin", "sys_ptrace", "net_admin"];
        for (capabilities, source) in [
            (&["dac_read_search"][..], "/proc/net/nf_conntrack"),
            (&all, "ctnetlink"),
        ] {
            let got = with(capabilities, &in_detail);
            assert_eq!(got.code, 1, "{}", got.text);
            assert_eq!(got.value("unreplied").unwrap()[0], "100");
            assert!(
                got.text
                    .contains(&format!("\nentries read from {source}\n")),
                "{}",
                got.text
            );
            assert!(!got.first_line().contains(", sees "), "{}", got.text);
        }
        // inside without the right to the table: what anybody sees there
        let got = with(&["sys_admin", "sys_ptrace"], &[]);
        assert!(
            got.first_line()
                .contains(", sees 1 of 100 entries (no CAP_NET_ADMIN)"),
            "{}",
            got.text
        );
    }

    /// It needs strace too: both groups' names stand in its own.
    mod strace {
        use super::*;
        use crate::common::plugin::check_after;

        /// The system calls by which a run changes its capabilities, enters a namespace and opens sockets.
        fn calls(arguments: &[&str]) -> String {
            let log = crate::common::new_file();
            let path = log.path().to_str().unwrap();
            let words = [
                "strace",
                "-qq",
                "-e",
                "trace=capset,setns,socket",
                "-o",
                path,
            ];
            let arguments = [&["--netns", "all"][..], arguments].concat();
            Answer::of(check_after(&words, arguments).output().unwrap());
            std::fs::read_to_string(path).unwrap()
        }

        #[test]
        fn the_largest_capability_is_gone_once_the_namespace_is_entered() {
            inside!(Namespaces::RootProcesses);
            loopback_up();
            let full = Neighbour::with_entries(0);
            let _connection = Role::udp_connection(&full.words(), "client", "127.0.0.1:53");
            conntrack::insert_by(&full.words(), &conntrack::udp(1..=1));
            let entered = calls(&["--top"]);
            let (before, after) = entered.split_once("setns(").expect(&entered);
            let (leaving, inside) = after.split_once("socket(").expect(&entered);
            assert!(before.contains("permitted=") && before.contains("CAP_SYS_ADMIN"));
            assert!(!before.contains("AF_NETLINK"), "{entered}");
            let last = leaving.rsplit("permitted=").next().unwrap();
            assert!(!last.contains("CAP_SYS_ADMIN"), "{entered}");
            assert!(!inside.contains("CAP_SYS_ADMIN"), "{entered}");
            // where it has no use it is gone once the arguments are known
            for arguments in [&[][..], &["--top", "--top-when", "problem"]] {
                let calls = calls(arguments);
                assert!(!calls.contains("setns("), "{calls}");
            }
            let without = calls(&["-v"]);
            let last = without.rsplit("permitted=").next().unwrap();
            assert!(last.starts_with('0'), "{without}");
        }
    }
}
