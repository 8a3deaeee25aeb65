//! The command line contract, on the real binary: one answer on stdout, nothing on stderr, exit code 0 to 3.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::plugin::{check_after, refused};
use crate::common::programs::{file, printed, program};
use crate::common::{Answer, BUCKETS, COUNT, MAX, ProcRoot, STATISTICS, answer};

mod netns {
    use crate::common::answer;
    use crate::common::namespaces::{Namespaces, inside};

    #[test]
    fn without_arguments_the_live_kernel_is_judged() {
        inside!(Namespaces::Network);
        let got = answer([""; 0]);
        assert_eq!(got.code, 0, "{}", got.text);
        let first = got.first_line();
        assert!(first.starts_with("CONNTRACK is OK: 0.0% "), "{}", got.text);
        assert!(got.fits_nrpe_2());
    }
}

#[test]
fn the_order_of_states_is_critical_warning_unknown_ok() {
    let root = ProcRoot::tracking("500\n", "1000\n");
    assert_eq!(root.answer(&[]).code, 0);
    assert_eq!(root.answer(&["-w", "40"]).code, 1);
    assert_eq!(root.answer(&["-c", "40"]).code, 2);
    assert_eq!(root.answer(&["-w", "40", "-c", "45"]).code, 2);
    root.remove(BUCKETS);
    assert_eq!(
        root.answer(&["-c", "chain=5"]).code,
        3,
        "asked for and not measured"
    );
    assert_eq!(
        root.answer(&["-c", "chain=5", "-w", "40"]).code,
        1,
        "a problem seen outweighs one not seen"
    );
}

#[test]
fn every_way_to_give_a_threshold_means_the_same() {
    let root = ProcRoot::tracking("850\n", "1000\n");
    let expected = root.answer(&["-w", "80", "-c", "90"]);
    assert_eq!(expected.code, 1);
    for arguments in [
        &["-w80", "-c90"][..],
        &["--warning", "80", "--critical", "90"],
        &["--warning=80", "--critical=usage=90"],
        &["-w", "usage=80%", "-c", "0:90%"],
        &["-c", "90", "-w", ":80"],
        &["80", "90"],
        &["80%", "90%"],
    ] {
        assert_eq!(root.answer(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn verbosity_changes_neither_state_nor_perfdata() {
    for count in ["500\n", "850\n", "950\n", "nonsense\n"] {
        let root = ProcRoot::tracking(count, "1000\n");
        let plain = root.answer(&[]);
        assert!(plain.fits_nrpe_2());
        let mut lines = plain.text.lines().count();
        for v in ["-v", "-vv", "-vvv", "-vvvvvv"] {
            let verbose = root.answer(&[v]);
            assert_eq!(
                (verbose.code, verbose.first_line()),
                (plain.code, plain.first_line()),
                "{v}"
            );
            assert!(verbose.text.lines().count() >= lines, "{v}");
            lines = verbose.text.lines().count();
        }
    }
}

#[test]
fn a_refusal_is_one_line_with_exit_code_3() {
    for arguments in [
        &["-w", "abc"][..],
        &["-w", ""],
        &["-w", "@"],
        &["-w", ":"],
        &["-w", "~"],
        &["-c", "20:10"],
        &["-c", "-5"],
        &["-c", "nan"],
        &["-c", "inf"],
        &["-c", "1e3"],
        &["-c", "0x10"],
        &["-c", "1_000"],
        &["-c", "1,5"],
        &["-c", "\u{663}"],
        &["-c", "1234567890123456789"],
        &["-c", "80x"],
        &["-c", "foo=80"],
        &["-c", "lost=1%"],
        &["-c", "full_in=30x:"],
        &["-c", "growth=5m"],
        &["-c", "80", "-c", "usage=90"],
        &["-c", "/root:80"],
        &["-c", "200000"],
        &["-c", "chain=10%"],
        &["-c", "x|evil=1;`id`$(id)\n\u{1b}[31m"],
        &["--nope"],
        &["--netns", "any"],
        &["--netns"],
        &["--empty", "maybe"],
        &["--state-dir", ""],
        &["-x"],
        &["-v=3"],
        &["-v", "3"],
        &["--t", "5"],
        &["usage"],
        &["-w", "lost"],
        &["75"],
        &["75", "80", "90"],
        &["-w", "75", "80", "90"],
        &["--absent"],
        &["--absent", "maybe"],
        &["-t", "0"],
        &["-t", "3601"],
        &["-t", "soon"],
        &["--proc-root", ""],
        &["-w"],
        &["-c"],
        &["--", "a b", "c d"],
    ] {
        let got = refused(arguments);
        assert_eq!(got.text.lines().count(), 1, "{arguments:?}: {}", got.text);
        assert!(
            got.text.starts_with("CONNTRACK is UNKNOWN: "),
            "{}",
            got.text
        );
        assert!(
            got.perfdata().is_empty() && got.fits_nrpe_2(),
            "{}",
            got.text
        );
    }
}

#[test]
fn a_refusal_names_the_option_the_value_and_what_is_accepted() {
    for (arguments, wanted) in [
        (&["-w", "12x"][..], ["--warning", "12x", "START:END"]),
        (
            &["-c", "200000"],
            ["--critical", "200000", "for a count write entries=200000"],
        ),
        (
            &["-c", "/root:80"],
            ["--critical", "/root:80", "shell expanded ~"],
        ),
        (
            &["-w", "~5"],
            [
                "--warning ~5 refused",
                "':' missing after '~'",
                "write ~:5 for \"no lower bound\"",
            ],
        ),
        (
            &["-c", "full_in=@~30m"],
            [
                "--critical full_in=@~30m refused",
                "missing after '~'",
                "write ~:30m",
            ],
        ),
        (
            &["-w", "~x"],
            ["--warning ~x refused", "missing after '~'", "write ~:END"],
        ),
        // whatever is not printed as it is
        (
            &["-w", "8|0"],
            [r"--warning 8\x7c0", "is not a decimal number", "START:END"],
        ),
        (
            &["-w", " 80"],
            [r"--warning \x2080", "is not a decimal number", "START:END"],
        ),
        (
            &["--own", "10.0.0.1,x;y"],
            [r"--own x\x3by", "accepted are", "addresses"],
        ),
        (
            &["--source", "net<link"],
            [r"--source net\x3clink", "accepted are", "auto, netlink"],
        ),
        (
            &["--top=\u{663}"],
            ["--top", r"\u{663}", "whole numbers from 1 to 50"],
        ),
        (
            &["--absent="],
            ["--absent (empty)", "accepted are", "ok, warning"],
        ),
        (
            &["-w", "loss=1"],
            [
                "--warning",
                "loss",
                "known are usage, entries, free, chain, lost, drop, chaintoolong, early_drop, \
                 insert_failed, growth, full_in, peak, ports, expect, endpoint",
            ],
        ),
        (
            &["-w", "lost=1%"],
            ["--warning", "lost=1%", "lost takes no %"],
        ),
        (
            &["-w", "full_in=5%:"],
            ["--warning", "full_in=5%:", "full_in takes no %"],
        ),
        (&["--netns", "host"], ["--netns", "host", "self and all"]),
        (
            &["--empty", "maybe"],
            ["--empty", "maybe", "ok, warning, critical and unknown"],
        ),
        (
            &["-t", "0"],
            ["--timeout", "0", "whole seconds from 1 to 3600"],
        ),
        (
            &["--absent", "maybe"],
            ["--absent", "maybe", "ok, warning, critical and unknown"],
        ),
        (
            &["--criticl", "80"],
            ["--criticl", "did you mean", "--critical"],
        ),
        (
            &["-w", "lost"],
            ["--warning lost", "without a range", "lost=RANGE"],
        ),
    ] {
        let got = refused(arguments);
        for part in wanted {
            assert!(got.text.contains(part), "{part} in {}", got.text);
        }
    }
}

#[test]
fn a_capture_has_no_previous_run_to_be_compared_with() {
    let capture = "tests/cases/capture-of-a-syn-flood/capture";
    let root = ProcRoot::tracking("10\n", "1000\n");
    let got = root.answer(&["--table", capture, "-c", "lost=100"]);
    assert_eq!(got.code, 3);
    assert!(
        got.first_line()
            .contains("lost not measured: a capture has no previous run"),
        "{}",
        got.text
    );
}

#[test]
fn an_argument_that_is_not_text_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    for (arguments, shown) in [
        (&[&b"-w"[..], b"8\xff\xfe0"][..], r"-w 8\xff\xfe0"),
        (&[b"--absent=\xff"], r"--absent=\xff"),
        (&[b"\xff", b"90"], r"\xff"),
        // a name of a file may have any bytes
        (&[b"--table", b"\xfe", b"-w", b"\xff"], r"-w \xff"),
        (&[b"--state-dir=\xfe", b"-c", b"\xff"], r"-c \xff"),
    ] {
        let got = refused(arguments.iter().map(|argument| OsStr::from_bytes(argument)));
        let refusal = format!("CONNTRACK is UNKNOWN: {shown} refused: it is not valid UTF-8");
        assert!(got.text.starts_with(&refusal), "{}", got.text);
    }
}

#[test]
fn help_and_version_go_to_stdout_with_exit_code_3() {
    for option in ["-h", "--help"] {
        let got = answer([option]);
        assert_eq!(got.code, 3);
        for word in [
            "Usage:",
            "--warning",
            "--critical",
            "--absent",
            "--proc-root",
            "--timeout",
            "--verbose",
            "chain",
        ] {
            assert!(got.text.contains(word), "{word}");
        }
        assert!(!got.text.contains('|'), "{}", got.text);
    }
    for option in ["-V", "--version"] {
        let got = answer([option]);
        assert_eq!(
            (got.code, got.text.as_str()),
            (
                3,
                concat!("check_conntrack ", env!("CARGO_PKG_VERSION"), "\n")
            )
        );
    }
    assert!(
        answer(["-w", "nonsense", "--help"]).text.contains("Usage:"),
        "help wins"
    );
}

#[test]
fn the_help_fits_a_terminal_of_80_columns_and_the_limit_of_an_answer() {
    let help = answer(["--help"]).text;
    for line in help.lines() {
        assert!(line.len() <= 80, "{line}");
    }
    assert!(help.len() <= 4000, "{} bytes", help.len());
    // what does not fit an answer is left out: the last lines, and with them the examples
    let whole = check_conntrack::cli::command().render_help().to_string();
    assert_eq!(help.trim_end(), whole.trim_end());
    let headings = [
        "Thresholds, repeatable",
        "Who fills the table",
        "Sources",
        "Recorder",
        "State",
        "Output",
    ];
    for heading in headings {
        assert!(
            help.contains(&format!("\n{heading}:\n")),
            "{heading} in {help}"
        );
    }
}

#[test]
fn a_threshold_that_lacks_its_colon_is_judged_as_typed_and_said() {
    let root = ProcRoot::tracking("500\n", "1000\n");
    let slip = "--critical free=100 alerts above 100, did you mean free=100: (alerts below 100)";
    let got = root.answer(&["-c", "free=100"]);
    assert_eq!(got.code, 2, "500 are free: {}", got.text);
    assert!(got.text.lines().any(|line| line == slip), "{}", got.text);
    let got = root.answer(&["-c", "free=100:"]);
    assert_eq!(
        (got.code, got.text.contains("did you mean")),
        (0, false),
        "{}",
        got.text
    );
}

#[test]
fn a_warning_range_behind_the_critical_one_is_accepted_and_said_with_v() {
    let root = ProcRoot::tracking("500\n", "1000\n");
    let said = "--warning usage=90 is never reached before --critical usage=80";
    let quiet = root.answer(&["-w", "90", "-c", "80"]);
    assert_eq!(
        (quiet.code, quiet.text.contains(said)),
        (0, false),
        "{}",
        quiet.text
    );
    let verbose = root.answer(&["-w", "90", "-c", "80", "-v"]);
    assert!(
        verbose.text.lines().any(|line| line == said),
        "{}",
        verbose.text
    );
}

#[test]
fn the_name_that_the_caller_gives_the_program_is_never_printed() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    let root = ProcRoot::empty();
    for arguments in [
        &["-h"][..],
        &["-V"],
        &["--nope"],
        &["--netns"],
        &["--absent", "ok", "--absent", "ok"],
        &["1", "2", "3"],
    ] {
        let expected = root.answer(arguments);
        for name in [
            &b""[..],
            b"-h",
            b"x|y|z=1;\x1b[31m\n$(id)`id`",
            b"/usr/lib/nagios/plugins/check_x|y",
            b"\xff\xfe",
        ] {
            let name = std::ffi::OsStr::from_bytes(name);
            let got = Answer::of(root.check(arguments).arg0(name).output().unwrap());
            assert_eq!(got, expected, "{name:?} {arguments:?}");
        }
    }
    let help = answer(["-h"]).text;
    assert!(
        help.contains("\nUsage: check_conntrack [OPTIONS]\n"),
        "{help}"
    );
}

#[test]
fn environment_and_standard_input_do_not_matter() {
    let root = ProcRoot::tracking("850\n", "1000\n");
    let expected = root.answer(&[]);
    let mut command = root.check(&[]);
    command
        .env_clear()
        .env("LC_ALL", "de_DE.UTF-8")
        .env("RUST_BACKTRACE", "full")
        .env("COLUMNS", "10");
    command
        .env("CLICOLOR_FORCE", "1")
        .env("PROC_ROOT", "/nowhere")
        .current_dir("/");
    assert_eq!(Answer::of(command.output().unwrap()), expected);
    command.stdin(File::open("/dev/zero").unwrap());
    assert_eq!(Answer::of(command.output().unwrap()), expected);
}

#[test]
fn a_full_stdout_is_unknown() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let root = ProcRoot::tracking("10\n", "1000\n");
    for arguments in [&[][..], &["--help"], &["--nope"]] {
        let output = root
            .check(arguments)
            .stdout(full.as_fd().try_clone_to_owned().unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn a_broken_pipe_is_unknown() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let root = ProcRoot::tracking("10\n", "1000\n");
    let output = root.check(&[]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_closed_stdout_ends_within_0_to_3() {
    let root = ProcRoot::tracking("10\n", "1000\n");
    let script = file("scripts/without-streams");
    let words = [script.to_str().unwrap(), "012"];
    let arguments = ["--proc-root", root.path().to_str().unwrap()];
    let code = check_after(&words, arguments).status().unwrap().code();
    assert!(code.is_some_and(|code| (0..=3).contains(&code)), "{code:?}");
}

#[test]
fn a_pipe_nobody_reads_ends_at_the_time_limit() {
    use std::io::{ErrorKind, Write};
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    // until it is full
    let error = loop {
        if let Err(error) = writer.write(&[b'x'; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // the same pipe, opened once more: this end may block
    let stdout = {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        OpenOptions::new().write(true).open(path).unwrap()
    };
    let root = ProcRoot::tracking("10\n", "1000\n");
    let child = root
        .check(&["-t", "1"])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.status.signal()),
        (Some(3), None)
    );
    assert!(output.stderr.is_empty());
    drop((reader, writer));
}

// ---- bad input ----------------------------------------------------------------------------------------------------

/// The answer is UNKNOWN, names the file, and says what would help.
fn assert_names(got: &Answer, file: &str, words: &str) {
    assert_eq!(got.code, 3, "{}", got.text);
    let name = file.rsplit('/').next().unwrap();
    assert!(got.first_line().contains(name), "{name} in {}", got.text);
    assert!(got.first_line().contains(words), "{words} in {}", got.text);
    assert!(
        got.first_line().contains('?') || got.first_line().contains("--proc-root"),
        "a hint in {}",
        got.text
    );
}

#[test]
fn whatever_stands_in_the_place_of_a_number_is_named() {
    for (content, words) in [
        (&b""[..], "is empty"),
        (b"\n", "nothing printable"),
        (b"abc\n", "says abc"),
        (b"1 2\n", "says 1 2"),
        (b"\xff\xfe\n", "says ??"),
        (b"1\x002\n", "says 12"),
        (b"4294967296\n", "says 4294967296"),
        (b"99999999999999999999999\n", "says 9999"),
        (&[b'1'; 5000], "is longer than 64 bytes"),
    ] {
        for file in [COUNT, MAX] {
            let root = ProcRoot::tracking("10\n", "1000\n");
            root.file(file, content);
            assert_names(&root.answer(&["--absent", "ok"]), file, words);
        }
    }
}

#[test]
fn a_negative_maximum_is_no_limit_and_a_negative_count_is_a_counter_that_wrapped() {
    let no_limit = ProcRoot::tracking("10\n", "-5\n").answer(&[]);
    assert_eq!(no_limit.code, 0, "5.10 accepts it");
    for count in ["-5\n", "-1\n", "-2147483648\n"] {
        let root = ProcRoot::tracking(count, "1000\n");
        for arguments in [&[][..], &["-w", "~:"], &["--absent", "ok", "--top"]] {
            let got = root.answer(arguments);
            let number = count.trim();
            assert!(
                got.code == 3
                    && got.first_line().contains(&format!(
                        "nf_conntrack_count says {number}, the kernel's counter wrapped"
                    )),
                "{}",
                got.text
            );
            assert_eq!((got.value("usage"), got.value("entries")), (None, None));
        }
    }
}

#[test]
fn a_directory_or_a_fifo_in_the_place_of_a_file_is_named_at_once() {
    for file in [COUNT, MAX] {
        let root = ProcRoot::tracking("10\n", "1000\n");
        root.remove(file);
        std::fs::create_dir(root.path().join(file)).unwrap();
        assert_names(
            &root.answer(&["--absent", "ok"]),
            file,
            "is a directory, not a kernel file",
        );

        let root = ProcRoot::tracking("10\n", "1000\n");
        root.remove(file);
        printed(program("mkfifo").arg(root.path().join(file)));
        assert_names(&root.answer(&[]), file, "is a fifo, not a kernel file");
        // with a writer who never writes
        let writer = OpenOptions::new()
            .read(true)
            .write(true)
            .open(root.path().join(file))
            .unwrap();
        assert_names(&root.answer(&[]), file, "is a fifo, not a kernel file");
        drop(writer);
    }
}

#[test]
fn devices_and_sockets_in_the_place_of_a_file_are_named() {
    let root = ProcRoot::tracking("10\n", "1000\n");
    root.remove(COUNT);
    for (device, words) in [("/dev/zero", "is a device"), ("/dev/null", "is a device")] {
        std::os::unix::fs::symlink(device, root.path().join(COUNT)).unwrap();
        assert_names(&root.answer(&[]), COUNT, words);
        root.remove(COUNT);
    }
    let socket = std::os::unix::net::UnixListener::bind(root.path().join(COUNT)).unwrap();
    assert_names(&root.answer(&[]), COUNT, "is a socket");
    drop(socket);
    root.remove(COUNT);
    std::os::unix::fs::symlink(root.path().join(COUNT), root.path().join(COUNT)).unwrap();
    let got = root.answer(&[]);
    assert!(
        got.code == 3 && got.text.contains("nf_conntrack_count cannot be read"),
        "{}",
        got.text
    );
}

#[test]
fn an_unreadable_file_is_named_even_to_root() {
    // capabilities are given up before anything is opened, so root is refused like everybody
    for file in [COUNT, MAX] {
        let root = ProcRoot::tracking("10\n", "1000\n");
        std::fs::set_permissions(root.path().join(file), std::fs::Permissions::from_mode(0o0))
            .unwrap();
        assert_names(&root.answer(&["--absent", "ok"]), file, "permission denied");
    }
    let root = ProcRoot::tracking("10\n", "1000\n");
    let netfilter = root.path().join("sys/net");
    std::fs::set_permissions(&netfilter, std::fs::Permissions::from_mode(0o0)).unwrap();
    assert_names(
        &root.answer(&["--absent", "ok"]),
        COUNT,
        "permission denied",
    );
    std::fs::set_permissions(&netfilter, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_capture_that_cannot_be_read_is_named() {
    let root = ProcRoot::tracking("10\n", "1000\n");
    let missing = root.path().join("no-such-capture");
    let got = root.answer(&[
        "--top",
        "--absent",
        "ok",
        "--table",
        missing.to_str().unwrap(),
    ]);
    assert_eq!(got.code, 3);
    assert!(
        got.text.contains("no-such-capture does not exist"),
        "{}",
        got.text
    );
    let directory = root.path().to_str().unwrap().to_owned();
    let got = root.answer(&["--table", &directory]);
    assert!(
        got.code == 3 && got.text.contains("is a directory"),
        "{}",
        got.text
    );
}

#[test]
fn a_capture_comes_from_standard_input_too() {
    use std::io::Write;
    let root = ProcRoot::tracking("10\n", "4\n");
    let line = "tcp 6 9 ESTABLISHED src=192.0.2.1 dst=192.0.2.7 sport=1 dport=22 src=192.0.2.7 dst=192.0.2.1 sport=22 dport=1 [ASSURED] use=1\n";
    let mut command = root.check(&["--table", "-", "--own", "192.0.2.1", "--top"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(line.repeat(3).as_bytes())
        .unwrap();
    let got = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(got.code, 0, "{}", got.text);
    assert!(
        got.first_line()
            .contains(": 75.0% full (3 of 4 entries, 1 free)"),
        "{}",
        got.text
    );
    assert!(
        got.text
            .contains("\n1. to 192.0.2.7:22/tcp: 3 entries, 100.0%, ESTABLISHED 100%\n"),
        "{}",
        got.text
    );
}

#[test]
fn a_capture_that_never_comes_ends_at_half_of_the_time() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let begin = Instant::now();
    // nothing that could be told of this host
    let root = ProcRoot::empty();
    let mut check = root.check(&["--table", "-", "--top", "-t", "6"]);
    let output = check.stdin(reader).output().unwrap();
    let got = Answer::of(output);
    assert_eq!(got.code, 3, "{}", got.text);
    assert!(
        got.text
            .contains("timed out before the capture was read to its end"),
        "{}",
        got.text
    );
    assert!(
        got.perfdata().is_empty(),
        "nothing was counted: {}",
        got.text
    );
    // the alarm at the end of the time has other words; and nothing ends before half of it
    assert!(begin.elapsed() >= Duration::from_millis(2900));
}

#[test]
fn options_of_the_list_are_refused_by_name() {
    for (arguments, wanted) in [
        (
            &["--top", "0"][..],
            "--top 0 refused: accepted are whole numbers from 1 to 50",
        ),
        (&["--top=51"], "--top 51 refused"),
        (&["--top=x"], "--top x refused"),
        (
            &["--top-when", "often"],
            "--top-when often refused: accepted are always and problem",
        ),
        (&["--aggregate", "24"], "--aggregate 24 refused"),
        (&["--aggregate", "33,64"], "--aggregate 33,64 refused"),
        (&["--own", "example.org"], "--own example.org refused"),
        (&["--own", "192.0.2.0/33"], "--own 192.0.2.0/33 refused"),
        (
            &["--source", "magic"],
            "--source magic refused: accepted are auto, netlink, procfs, sockets and recording",
        ),
        (&["--sample=-1"], "--sample -1 refused"),
        (&["--sample", "-1"], "--sample -1 refused"),
        (&["--sample", "many"], "--sample many refused"),
        (&["--table", ""], "--table"),
    ] {
        let got = refused(arguments);
        assert!(got.text.contains(wanted), "{wanted} in {}", got.text);
    }
}

#[test]
fn absent_covers_not_tracking_and_never_a_host_that_cannot_be_seen() {
    for (state, code) in [
        ("ok", 0),
        ("warning", 1),
        ("critical", 2),
        ("unknown", 3),
        ("warn", 1),
        ("crit", 2),
        ("unkn", 3),
    ] {
        let not_tracking = ProcRoot::empty();
        for option in ["--absent", "--no-conntrack"] {
            let got = not_tracking.answer(&[option, state]);
            assert_eq!(got.code, code, "{}", got.text);
            assert!(got.perfdata().is_empty());
        }
        let unseen = ProcRoot::empty();
        std::fs::remove_dir_all(unseen.path().join("sys")).unwrap();
        assert_names(
            &unseen.answer(&["--absent", state]),
            "sys/net",
            "does not exist",
        );
        for file in [COUNT, MAX] {
            let half = ProcRoot::tracking("10\n", "1000\n");
            half.remove(file);
            assert_names(
                &half.answer(&["--absent", state]),
                file,
                "does not exist although",
            );
        }
        let hidden = ProcRoot::empty();
        hidden.file(STATISTICS, crate::common::STATISTICS_HEADER);
        assert_names(
            &hidden.answer(&["--absent", state]),
            COUNT,
            "does not exist although",
        );
    }
}

#[test]
fn optional_files_in_any_condition_do_not_change_the_verdict() {
    for file in [BUCKETS, STATISTICS] {
        for content in [&b""[..], b"\xff", b"zz", b"entries\n", b"0\n", b"-1\n"] {
            let root = ProcRoot::tracking("950\n", "1000\n");
            root.file(file, content);
            assert_eq!(root.answer(&[]).code, 2, "{file} {content:?}");
        }
        let root = ProcRoot::tracking("950\n", "1000\n");
        root.remove(file);
        assert_eq!(root.answer(&[]).code, 2);
        printed(program("mkfifo").arg(root.path().join(file)));
        assert_eq!(root.answer(&[]).code, 2);
    }
}

#[test]
fn the_legacy_paths_are_read_where_the_current_ones_are_missing() {
    let root = ProcRoot::empty();
    root.file("sys/net/ipv4/netfilter/ip_conntrack_count", "850\n");
    for max in [
        "sys/net/ipv4/ip_conntrack_max",
        "sys/net/ipv4/netfilter/ip_conntrack_max",
        "sys/net/nf_conntrack_max",
    ] {
        root.file(max, "1000\n");
        let got = root.answer(&[]);
        assert_eq!(got.code, 1, "{max}: {}", got.text);
        assert_eq!(
            got.value("entries").unwrap(),
            ["850", "800", "900", "0", "1000"]
        );
        root.remove(max);
    }
    root.file("sys/net/nf_conntrack_max", "1000\n");
    let counters = crate::common::statistics_row(7, 0, 0, 2);
    let statistics = format!("{}{counters}", crate::common::STATISTICS_HEADER);
    root.file("net/stat/ip_conntrack", statistics);
    let got = root.answer(&[]);
    let of = |counter| got.value(counter).unwrap_or_default();
    assert_eq!(
        [of("drop"), of("insert_failed")],
        [["7c"], ["2c"]],
        "{}",
        got.text
    );
    // a broken current file is not papered over by a legacy one
    root.file(MAX, "oops\n");
    assert_eq!(root.answer(&[]).code, 3);
}

#[test]
fn the_longest_answer_still_fits() {
    let root = ProcRoot::tracking("4294967295\n", "4294967295\n");
    root.file(BUCKETS, "1\n");
    root.file(
        STATISTICS,
        format!(
            "{}{}",
            crate::common::STATISTICS_HEADER,
            crate::common::statistics_row(!0, !0, !0, !0).repeat(64)
        ),
    );
    let long = "0.0000000000000001:99.999999999999999";
    let entries = "entries=0.0000000000000001%:99.999999999999999%";
    let chain = "chain=0.0000000000000001:99.999999999999999";
    for arguments in [
        vec![
            "-w",
            long,
            "-c",
            long,
            "-w",
            entries,
            "-c",
            entries,
            "-w",
            chain,
            "-c",
            chain,
            "-w",
            "free=99.999999999999999%:",
        ],
        vec!["-vvv", "-w", long],
    ] {
        let got = root.answer(&arguments);
        assert_eq!(got.code, 2, "{}", got.text);
        assert!(
            got.fits_nrpe_2() || arguments[0] == "-vvv",
            "{} bytes",
            got.text.len()
        );
        assert!(
            got.value("insert_failed").is_some(),
            "perfdata is never cut"
        );
    }
    // a threshold on everything there is, as long as they get
    let table = root.path().join("capture");
    let entry = "udp 17 30 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=53 src=192.0.2.2 dst=192.0.2.1 sport=53 dport=1 use=1\n";
    std::fs::write(&table, entry).unwrap();
    let mut arguments = vec!["--table".to_owned(), table.to_str().unwrap().to_owned()];
    arguments.extend(["--own", "192.0.2.1"].map(str::to_owned));
    for metric in [
        "usage",
        "entries",
        "free",
        "chain",
        "endpoint",
        "unreplied",
        "evictable",
        "established",
        "time_wait",
        "syn_sent",
        "syn_recv",
        "fin_wait",
        "close_wait",
        "last_ack",
        "close",
        "udp",
        "icmp",
        "other",
    ] {
        let bound = if metric == "usage" {
            "99.1234567890123456"
        } else {
            "123456789012345678"
        };
        arguments.extend(
            ["-w", "-c"]
                .iter()
                .flat_map(|option| [(*option).to_owned(), format!("{metric}={bound}")]),
        );
    }
    let got = root.answer(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(got.fits_nrpe_2(), "{} bytes", got.text.len());
    assert_eq!(
        got.value("other").unwrap(),
        ["0"],
        "values stay when there is no room for thresholds"
    );
    let got = root.answer(&["-vvv"]);
    let last = got.text.lines().last().unwrap();
    let left_out = last.strip_suffix(" more lines not shown");
    assert!(
        left_out.is_some_and(|n| n.parse::<u32>().is_ok()),
        "{}",
        got.text
    );
}

#[test]
fn the_longest_first_line_has_1023_bytes_with_its_line_feed() {
    let root = ProcRoot::empty();
    let capture = root.join("capture");
    let line = "tcp 6 299 ESTABLISHED src=10.0.0.4 dst=192.0.2.7 sport=4001 dport=80 src=192.0.2.7 dst=10.0.0.4 sport=80 \
                dport=4001 [ASSURED] mark=0 use=1\n";
    root.file("capture", line);
    let ranges: Vec<String> = check_conntrack::judge::metric::Metric::all()
        .flat_map(|metric| {
            [
                format!("-w{metric}=@0.000000001:17.123456789"),
                format!("-c{metric}=-12345678901234567:99.9"),
            ]
        })
        .filter(|range| !range.starts_with("-wentries="))
        .collect();
    let typed = [
        "--own",
        "10.0.0.4",
        "--top",
        "--proc-root",
        "/nonexistent",
        "--table",
        capture.to_str().unwrap(),
    ];
    let longest = (2..=32).map(|decimals| {
        // the first range that line 1 shows is a byte longer each time, until the last part does not fit
        let (zeros, ones) = (decimals / 2, decimals - decimals / 2);
        let first = format!(
            "-wentries=@0.{}1:17.{}",
            "0".repeat(zeros),
            "1".repeat(ones)
        );
        let words = typed.into_iter().chain([first.as_str()]);
        let got = answer(words.chain(ranges.iter().map(String::as_str)));
        assert!(got.fits_nrpe_2(), "{} bytes: {}", got.text.len(), got.text);
        got.text.len()
    });
    assert_eq!(longest.max(), Some(1023));
}
