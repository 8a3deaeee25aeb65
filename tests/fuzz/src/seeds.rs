//! The seeds of the fuzzing: inputs made of the fixtures that the other tests have, and the words of each language.

use std::fs;
use std::path::{Path, PathBuf};

use check_conntrack::judge::history::Baseline;
use check_conntrack::judge::metric::Metric;
use check_conntrack::model::conntrack::TcpState;
use check_conntrack::model::netns::NetnsId;

use super::files::{NAMES, archive};
use super::recording::example as recorded_example;
use super::state::example;
use super::{datagrams, pipeline};

/// Ranges: those of the guidelines, and what they do not define.
const RANGES: [&str; 24] = [
    "10",
    "10:",
    "~:10",
    "10:20",
    "@10:20",
    ":10",
    "~:",
    "-5:5",
    "@~:-5",
    "0.5:99.95",
    "80%",
    "10%:90%",
    "30m:",
    "~:1h",
    "90s",
    "010",
    "-0",
    "20:10",
    "1e3",
    "@",
    ":",
    "~",
    "/root:80",
    "123456789012345678",
];

/// Reads a recording of tests/datagrams: type of each message, and what stands behind its header.
pub type Recorded = fn(&str) -> Vec<(u16, Vec<u8>)>;

/// The inputs of a target. `tests` is the folder of the tests.
pub fn inputs(target: &str, tests: &Path, recorded: Recorded) -> Vec<Vec<u8>> {
    match target {
        "ranges" => RANGES
            .iter()
            .flat_map(|range| [0, 1, 12].map(|kind| range_of(kind, range)))
            .collect(),
        "arguments" => command_lines(tests),
        "kernel_files" => cases(tests)
            .iter()
            .map(|case| archive(below(&case.files, "sys net uptime self")))
            .collect(),
        "proc_files" => proc_roots(tests),
        "datagrams" => netlink(tests, recorded),
        "sock_diag" => sockets(tests, recorded),
        "table_text" => captures(tests)
            .iter()
            .flat_map(|capture| {
                [&[7, 3], &[255, 0]].map(|head| [head, capture.as_slice()].concat())
            })
            .collect(),
        "state" => vec![
            state(&example()),
            state(&Baseline {
                walked: None,
                ..example()
            }),
        ],
        "recording" => recordings_of_the_recorder(),
        "pipeline" => checks(tests),
        other => panic!("no target {other}"),
    }
}

fn range_of(kind: u8, range: &str) -> Vec<u8> {
    let number = 100_i32.to_le_bytes();
    [&[kind, 0], &number[..], range.as_bytes()].concat()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The content of a folder, in order.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// A golden run.
struct Case {
    /// One a line.
    arguments: Vec<u8>,
    capture: Option<Vec<u8>>,
    files: Vec<(&'static str, Vec<u8>)>,
}

fn cases(tests: &Path) -> Vec<Case> {
    let case = |folder: PathBuf| {
        let link = |name: &str| {
            let target = fs::read_link(folder.join("proc").join(name)).ok()?;
            Some(target.to_string_lossy().into_owned().into_bytes())
        };
        let file = |name: &&'static str| {
            let content = link(name).or_else(|| fs::read(folder.join("proc").join(name)).ok())?;
            Some((*name, content))
        };
        Case {
            arguments: fs::read(folder.join("args")).unwrap_or_default(),
            capture: fs::read(folder.join("capture")).ok(),
            files: NAMES.iter().filter_map(file).collect(),
        }
    };
    listed(&tests.join("cases")).into_iter().map(case).collect()
}

/// The files of a proc root whose path begins like this.
fn below<'a>(
    files: &'a [(&'static str, Vec<u8>)],
    tops: &'a str,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    files
        .iter()
        .filter(move |(name, _)| tops.split(' ').any(|top| name.starts_with(top)))
        .map(|(name, content)| (*name, content.as_slice()))
}

/// Every command line of the golden runs and of the documentation, as far as its words are split by blanks.
fn command_lines(tests: &Path) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = cases(tests)
        .into_iter()
        .map(|case| case.arguments.trim_ascii_end().to_vec())
        .map(|arguments| {
            arguments
                .split(|byte| *byte == b'\n')
                .collect::<Vec<_>>()
                .join(&0)
        })
        .collect();
    let top = tests.parent().expect("the repository");
    let documents = listed(&top.join("docs"))
        .into_iter()
        .chain([top.join("README.md")]);
    for document in documents.filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = String::from_utf8(read(&document)).expect("text");
        let commands = text
            .lines()
            .filter_map(|line| line.split_once("check_conntrack -"));
        lines.extend(commands.map(|(_, rest)| {
            let words: Vec<&str> = rest
                .split([' ', '\'', '`', '|'])
                .filter(|word| !word.is_empty())
                .collect();
            format!("-{}", words.join("\0")).into_bytes()
        }));
    }
    lines.sort();
    lines.dedup();
    lines
}

fn proc_roots(tests: &Path) -> Vec<Vec<u8>> {
    let mut roots: Vec<Vec<u8>> = cases(tests)
        .iter()
        .map(|case| {
            archive(below(
                &case.files,
                "net/fib net/if net/snmp net/tcp net/udp self 1/ 812 4711 sys/net/netfilter",
            ))
        })
        .filter(|root| !root.is_empty())
        .collect();
    // a process also has sockets that nobody asked for
    let of_processes = roots
        .iter()
        .filter(|root| root.windows(9).any(|window| window == b"812/comm\n"));
    let more = of_processes.map(|root| {
        [
            root,
            &archive([
                ("812/fd/5", &b"socket:[4711]"[..]),
                ("812/fd/6", b"socket:[4711]"),
                ("812/fd/7", b"socket:[424242]"),
            ])[..],
        ]
        .concat()
    });
    let more: Vec<Vec<u8>> = more.collect();
    roots.extend(more);
    for kernel in ["5.10", "6.18"] {
        let file = |name| read(&tests.join("addresses").join(format!("{name}-{kernel}")));
        let (v4, v6) = (file("fib_trie"), file("if_inet6"));
        roots.push(archive([
            ("net/fib_trie", v4.as_slice()),
            ("net/if_inet6", v6.as_slice()),
        ]));
    }
    roots
}

/// A message of a conversation of ours.
fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("a message");
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message
        .extend_from_slice(&check_conntrack::source::netlink::conversation::SEQUENCE.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(payload);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// NLMSG_DONE without an error in it.
fn done() -> Vec<u8> {
    message(3, 2, &[0; 4])
}

/// The recordings whose names begin, or do not begin, with `sockets`.
fn recordings(tests: &Path, of_sockets: bool) -> Vec<String> {
    listed(&tests.join("datagrams"))
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "hex"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name.starts_with("sockets") == of_sockets)
        .collect()
}

fn netlink(tests: &Path, recorded: Recorded) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    let mut all = Vec::new();
    for name in recordings(tests, false) {
        let messages: Vec<Vec<u8>> = recorded(&name)
            .iter()
            .map(|(kind, payload)| message(*kind, 2, payload))
            .collect();
        let datagram = messages.concat();
        all.push(datagram.clone());
        inputs.push([vec![0], datagrams::input(&[datagram, done()])].concat());
    }
    inputs.push([vec![4], datagrams::input(&all)].concat());
    inputs
}

fn sockets(tests: &Path, recorded: Recorded) -> Vec<Vec<u8>> {
    recordings(tests, true)
        .iter()
        .map(|name| {
            let messages: Vec<Vec<u8>> = recorded(name)
                .iter()
                .map(|(kind, payload)| message(*kind, 2, payload))
                .collect();
            let protocol = u8::from(name.contains("tcp"));
            [
                vec![protocol],
                datagrams::input(&[messages.concat(), done()]),
            ]
            .concat()
        })
        .collect()
}

fn captures(tests: &Path) -> Vec<Vec<u8>> {
    let recorded = listed(&tests.join("captures"));
    let recorded = recorded
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "txt"));
    let mut captures: Vec<Vec<u8>> = recorded.map(|path| read(path)).collect();
    captures.extend(cases(tests).into_iter().filter_map(|case| case.capture));
    // the mutations of a long input mostly miss what matters
    let lines: Vec<Vec<u8>> = captures
        .iter()
        .flat_map(|capture| {
            capture
                .split_inclusive(|byte| *byte == b'\n')
                .take(12)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect();
    captures.extend(lines);
    captures
}

/// Its text, and a run half a minute later.
fn state(baseline: &Baseline) -> Vec<u8> {
    let mut input = baseline.to_string().into_bytes();
    input.push(0);
    for number in [3000_u32, 0, 1, 2, 3, 4] {
        input.extend_from_slice(&number.to_le_bytes());
    }
    input
}

/// Recordings with everything in them, of a moment and of many, and what is looked up ten seconds later.
fn recordings_of_the_recorder() -> Vec<Vec<u8>> {
    let hour: Vec<u64> = (0..50).map(|n| 86_400 + n * 60).collect();
    let moments: [&[u64]; 3] = [&[86_400], &[85_000, 86_390, 86_400], &hour];
    let inputs = moments.map(|at| {
        let mut input = recorded_example(at).to_text().into_bytes();
        input.push(0);
        for number in [30_000_u32, 1000, 1200, 5] {
            input.extend_from_slice(&number.to_le_bytes());
        }
        input
    });
    inputs.to_vec()
}

/// The facts of a state of this namespace alone, without their hash.
fn facts(id: NetnsId) -> Vec<u8> {
    let mut baseline = example();
    baseline.walked = None;
    baseline.namespaces.retain(|history| history.id == id);
    for history in &mut baseline.namespaces {
        history.last = history.before.take().expect("two runs");
        history.last.counters = None;
    }
    let text = baseline.to_string();
    let end = text.rfind("check ").expect("its hash");
    text.as_bytes()[..end].to_vec()
}

/// Ranges on every metric, so long that there is no room for them all.
fn every_threshold() -> String {
    let ranges = |metric: Metric| {
        format!("-w{metric}=@0.000000001:17.123456789\n-c{metric}=-12345678901234567:99.9\n")
    };
    Metric::all().map(ranges).collect()
}

/// Two checks with a recording of a full table between them.
fn beside_a_recorder(twice: &[u8]) -> Vec<u8> {
    let text = recorded_example(&[85_600, 86_430, 86_455]).to_text();
    let mut checks = archive([("recording", text.as_bytes()), ("self", b"1\n")]);
    checks.extend(archive([("1/ns/net", &b"net:[4026531840]\n"[..])]));
    checks.extend_from_slice(b"== args\n--recording=x\n-wpeak=80\n");
    let arguments = b"== args\n";
    let rest = twice.strip_prefix(arguments).unwrap_or(twice);
    checks.extend_from_slice(rest);
    checks
}

/// Golden runs as checks: alone, with a second one after them, with details, against a state.
fn checks(tests: &Path) -> Vec<Vec<u8>> {
    const BOOT: (&str, &[u8]) = (
        "sys/kernel/random/boot_id",
        b"5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7\n",
    );
    let mut checks = Vec::new();
    for case in cases(tests) {
        let parts = |arguments: &str| {
            let mut typed = case.arguments.clone();
            typed.extend_from_slice(arguments.as_bytes());
            let mut parts = archive([("args", typed.as_slice())]);
            if let Some(capture) = &case.capture {
                parts.extend(archive([("capture", capture.as_slice())]));
            }
            parts.extend(archive(below(&case.files, "")));
            parts
        };
        checks.push(parts(""));
        checks.push(parts("--top-when=problem\n-v\n"));
        checks.push(parts(&every_threshold()));
        let mut late = parts("--top\n-vv\n");
        late.extend_from_slice(b"== late\n");
        checks.push(late);
        let mut twice = parts("-wlost=0\n-cfull_in=30m:\n-cgrowth=~:1%\n-wendpoint=10%\n--top=3\n");
        twice.extend(archive([("uptime", &b"86400.00 1.00\n"[..]), BOOT]));
        let mut against = twice.clone();
        twice.extend(archive([
            ("then", &b""[..]),
            ("uptime", b"86460.00 1.00\n"),
            ("sys/net/netfilter/nf_conntrack_count", b"901\n"),
        ]));
        checks.push(beside_a_recorder(&twice));
        checks.push(twice);
        let mut full = parts(&format!("--top=50\n{}", every_threshold()));
        full.extend(archive([
            ("uptime", &b"86400.00 1.00\n"[..]),
            BOOT,
            ("then", b""),
            ("uptime", b"86460.00 1.00\n"),
            ("sys/net/netfilter/nf_conntrack_count", b"4294967295\n"),
        ]));
        checks.push(full);
        against.extend(archive([
            ("state", facts(NetnsId::Unknown).as_slice()),
            ("then", b""),
            ("uptime", b"86401.00 1.00\n"),
        ]));
        checks.push(against);
    }
    checks
}

/// The words of a target's language, which chance would take long to find.
pub fn words(target: &str) -> Vec<String> {
    let own = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
    let metrics = || Metric::all().map(|metric| format!("{metric}="));
    let options = || {
        let command = check_conntrack::cli::command();
        let long = command
            .get_arguments()
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
        long.collect::<Vec<_>>()
    };
    let names = |mark: &str| {
        NAMES
            .iter()
            .map(|name| format!("{mark} {name}\n"))
            .collect::<Vec<_>>()
    };
    let entries = || {
        let states = TcpState::ALL.iter().map(|(_, name)| (*name).to_owned());
        let mut words = own(
            "src= dst= sport= dport= [UNREPLIED] [ASSURED] [OFFLOAD] [HW_OFFLOAD] mark= use=1 use= secctx= labels= id= \
             [start= packets= bytes= zone= ipv4 ipv6 tcp udp icmp icmpv6 sctp gre unknown 10.0.0.1 192.0.2.7 ::1 \
             2001:db8::7 ::ffff:10.0.0.1 conntrack",
        );
        words.extend(states);
        words.push(" flow entries have been shown.\n".to_owned());
        words
    };
    match target {
        "ranges" => own("@ ~: : % s m h - 0. 000000000000000000 999999999999999999"),
        "arguments" => {
            let mut words = options();
            words.extend(metrics());
            words.extend(own(
                "-w -c -v -vvv -t -h -V ok warning critical unknown always problem auto",
            ));
            words.extend(own(
                "netlink procfs sockets self all 10.0.0.0/8 2001:db8::/32 24,64 @10:20 ~:80 80% 90 30m: -- = /root:80",
            ));
            words
        }
        "kernel_files" => {
            let mut words = names("==");
            words.extend(names("=!").into_iter().take(18));
            words.extend(own("4294967295 4294967296 -1 -2147483648 ffffffff"));
            words.extend(own(
                "entries drop chainlength early_drop insert_failed CurrEstab Tcp:",
            ));
            words
        }
        "proc_files" => {
            let mut words = names("==");
            words.extend(own(
                "/32 /24 host LOCAL link BROADCAST |-- Main: Local: Id 80000001 socket:[4711] net:[4026531840]",
            ));
            words.extend(own("0:: name=systemd .service .scope docker- lxc.payload. session- init.scope 0100007F:1F90 00000000:0000 0A 06 01"));
            words
        }
        "table_text" => entries(),
        "state" => own(
            "boot walked namespace cookie routesocket inode statistics unknown at count max counters processor check - 18446744073709551615",
        ),
        "recording" => own(
            "check_conntrack recording 1 boot namespace cookie inode every spaced unread clock sample survey netlink procfs \
             sockets counts finding holder owner why fix look endpoint line incident check ? - 4294967295 \
             18446744073709551615",
        ),
        "pipeline" => {
            let mut words = names("==");
            words.extend(names("=/"));
            words.extend(names("=|"));
            words.extend(names("=!"));
            words.extend(pipeline::OTHERS.map(|name| format!("== {name}\n")));
            words.extend(options().iter().map(|option| format!("{option}\n")));
            words.extend(metrics().map(|metric| format!("-c{metric}")));
            words.extend(entries());
            words.extend(own("entries drop chainlength early_drop insert_failed"));
            words.extend(own("socket:[4711] 4294967295 |-- host LOCAL"));
            words
        }
        _ => Vec::new(),
    }
}

/// Words as libFuzzer's dictionaries have them.
pub fn dictionary(words: &[String]) -> String {
    let escaped = |byte: u8| match byte {
        b' ' | b'!' | b'#'..=b'[' | b']'..=b'~' => char::from(byte).to_string(),
        other => format!("\\x{other:02X}"),
    };
    let line = |word: &String| format!("\"{}\"\n", word.bytes().map(escaped).collect::<String>());
    words
        .iter()
        .filter(|word| !word.is_empty())
        .map(line)
        .collect()
}
