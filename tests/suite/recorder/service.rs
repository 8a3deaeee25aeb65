//! The recorder as a service: how it starts, stops, is watched, and what it does if it cannot write.

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Host, Recorder};
use crate::common::folder::set_mode;
use crate::common::plugin::check_after;
use crate::common::plugin::refused;
use crate::common::programs::Running;
use crate::common::wait::{PATIENCE, at_any_moment, holds, wait_for};
use crate::common::{Answer, COUNT};

/// The output of a recorder that does not begin.
fn not_begun(host: &Host, more: &[&str]) -> Answer {
    let arguments = host.recording(more);
    Answer::of(check_after(&[], arguments).output().unwrap())
}

#[test]
fn term_and_int_end_a_recorder_with_a_last_sample_and_hup_does_not() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let host = Host::new();
        let recorder = host.start();
        recorder.signal(Signal::SIGHUP);
        host.set_time(1005);
        host.root.file(COUNT, "777\n");
        recorder.signal(signal);
        let status = recorder.end();
        assert!(status.success(), "{signal}: {status}");
        assert!(
            host.text().contains("\nsample 100500 777 1000\n"),
            "{}",
            host.text()
        );
    }
}

#[test]
fn a_second_recorder_refuses_to_write_to_the_same_directory() {
    let host = Host::new();
    let recorder = host.start();
    let answer = not_begun(&host, &["--record"]);
    assert_eq!(answer.code, 3);
    assert!(
        answer.text.contains("another recorder writes to "),
        "{}",
        answer.text
    );
    recorder.stop();
    host.record();
}

#[test]
fn a_directory_that_others_may_write_to_or_that_is_missing_is_refused() {
    let host = Host::new();
    set_mode(host.directory.path(), 0o775);
    let answer = not_begun(&host, &["--record"]);
    assert_eq!(answer.code, 3);
    assert!(
        answer
            .text
            .contains("not be writable by others (mode 0750)"),
        "{}",
        answer.text
    );
    set_mode(host.directory.path(), 0o755);
    fs::remove_dir(host.directory.path()).unwrap();
    let answer = not_begun(&host, &["--record"]);
    assert!(
        answer.text.contains("does not exist (create it "),
        "{}",
        answer.text
    );
    fs::create_dir(host.directory.path()).unwrap();
}

#[test]
fn options_that_a_recorder_does_not_know_are_refused() {
    for (arguments, option) in [
        (&["--record", "-w", "80"][..], "--warning and --critical"),
        (&["--record", "--top"], "--top"),
        (&["--record", "--table", "-"], "--table"),
        (&["--record", "--source", "recording"], "--source recording"),
    ] {
        let answer = refused(arguments);
        let start = format!("CONNTRACK is UNKNOWN: {option} refused: not beside --record");
        assert!(answer.text.starts_with(&start), "{}", answer.text);
    }
    for period in ["0", "61", "-1", "x", "1.5"] {
        let answer = refused([format!("--record={period}")]);
        assert!(
            answer
                .text
                .contains("accepted are whole numbers from 1 to 60"),
            "{}",
            answer.text
        );
    }
}

#[test]
fn files_are_for_the_user_and_the_group_whatever_the_umask() {
    let host = Host::new();
    host.holds(950, 0);
    let arguments = host.recording(&["--record", "60"]);
    let recorder = Recorder::start(&["sh", "-c", "umask 0777; exec \"$@\"", "sh"], &arguments);
    wait_for("an incident", || {
        holds(host.incidents().len() == 1, host.text())
    });
    recorder.stop();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&host.file()), 0o640);
    assert_eq!(mode(&host.incidents()[0]), 0o640);
    assert_eq!(mode(&host.kept.path().join("incidents")), 0o750);
}

#[test]
fn at_most_twenty_files_about_incidents_are_kept_and_other_files_stay() {
    let host = Host::new();
    let folder = host.kept.path().join("incidents");
    fs::create_dir(&folder).unwrap();
    for n in 0..25 {
        fs::write(folder.join(format!("20200101T0000{n:02}Z.txt")), "old").unwrap();
    }
    fs::write(folder.join("notes.txt"), "of somebody").unwrap();
    host.holds(950, 0);
    host.record();
    let files = host.incidents();
    assert_eq!(files.len(), 21, "{files:?}");
    assert!(files[0].ends_with("20200101T000006Z.txt"), "{files:?}");
    assert!(files[20].ends_with("notes.txt"), "{files:?}");
}

#[test]
fn a_recorder_that_is_killed_leaves_a_recording_that_can_be_read() {
    let host = Host::new();
    host.holds(950, 0);
    for n in 0..30 {
        host.set_time(1000 + n);
        let recorder = Recorder::start(&[], &host.recording(&["--record", "1"]));
        at_any_moment(Duration::from_millis(n * 3));
        recorder.signal(Signal::SIGKILL);
        recorder.end();
        let text = host.text();
        let parsed = check_conntrack::recording::Recording::parse(&text);
        assert!(
            text.is_empty() || parsed.is_ok(),
            "{:?}: {text}",
            parsed.err()
        );
    }
    host.record();
    // nothing is left over
    let names = fs::read_dir(host.directory.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lock", "recording"]);
}

#[test]
fn the_service_manager_hears_of_readiness_life_and_the_end() {
    let host = Host::new();
    let name = format!(
        "check_conntrack.{}.{:p}",
        std::process::id(),
        &raw const host
    );
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = check_after(&[], host.recording(&["--record", "1"]));
    command
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .stdout(Stdio::null());
    let recorder = Recorder(Running::start(&mut command));
    let next = || {
        let mut text = [0; 500];
        let length = loop {
            match manager.recv(&mut text) {
                // a call with a time limit is not begun again by itself after a signal (signal(7))
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("a message"),
            }
        };
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert_eq!(next(), "READY=1");
    assert!(!host.text().is_empty());
    let unread = "WATCHDOG=1\nSTATUS=table not read: ";
    for _ in 0..3 {
        let text = next();
        assert!(text.starts_with(unread), "{text}");
    }
    recorder.signal(Signal::SIGTERM);
    wait_for("the word that it stops", || match next() {
        text if text == "STOPPING=1" => Ok(()),
        text => Err(text),
    });
    assert!(recorder.end().success());
}

#[test]
fn a_kernel_that_does_not_track_yet_is_waited_for() {
    let host = Host::new();
    let count = fs::read(host.root.path().join(COUNT)).unwrap();
    let max = fs::read(host.root.path().join(crate::common::MAX)).unwrap();
    host.root.remove(COUNT).remove(crate::common::MAX);
    let recorder = Recorder::start(&[], &host.recording(&["--record", "1"]));
    let lock = host.directory.path().join("lock");
    wait_for("the recorder to begin", || holds(lock.exists(), "no lock"));
    assert_eq!(host.text(), "");
    host.root.file(COUNT, count).file(crate::common::MAX, max);
    wait_for("a sample", || {
        let text = host.text();
        holds(text.contains("\nsample 100000 100 1000"), text)
    });
    recorder.stop();
}

mod netns {
    use super::*;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::programs::run;

    /// A host whose directory of the recording is a file system of this size.
    fn on_a_file_system(size: &str) -> Host {
        let host = Host::new();
        let path = host.directory.path().to_str().unwrap();
        run(&format!(
            "mount -t tmpfs -o size={size},mode=0755 tmpfs {path}"
        ));
        host
    }

    #[test]
    fn a_full_disk_keeps_the_last_recording_and_is_survived() {
        inside!(Namespaces::Network);
        let host = on_a_file_system("16k");
        let recorder = Recorder::start(&[], &host.recording(&["--record", "1"]));
        wait_for("a first recording", || {
            holds(!host.text().is_empty(), "none")
        });
        let filler = host.directory.path().join("filler");
        let fill = || fs::write(&filler, [0; 20_000]).expect_err("a full disk");
        fill();
        let before = host.text();
        check_conntrack::recording::Recording::parse(&before).expect("a whole recording");
        // what the recorder had under way may still have found room
        host.set_time(2000);
        let old = || {
            let text = host.text();
            check_conntrack::recording::Recording::parse(&text).expect("a whole recording");
            holds(!text.contains("sample 200000"), text)
        };
        old().unwrap();
        fs::remove_file(&filler).unwrap();
        wait_for("a sample after there is room again", || {
            let text = host.text();
            holds(text.contains("\nsample 200000 "), text)
        });
        recorder.stop();
    }

    #[test]
    fn a_file_system_that_became_read_only_is_survived() {
        inside!(Namespaces::Network);
        let host = on_a_file_system("1m");
        let path = host.directory.path().to_str().unwrap().to_owned();
        let mut command = check_after(&[], host.recording(&["--record", "1"]));
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let recorder = Recorder(Running(child));
        wait_for("a first recording", || {
            holds(!host.text().is_empty(), "none")
        });
        run(&format!("mount -o remount,bind,ro {path}"));
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
        let said = lines.find(|line| {
            line.as_ref()
                .unwrap()
                .contains("recording not written: Read-only")
        });
        assert!(said.is_some());
        run(&format!("mount -o remount,bind,rw {path}"));
        host.set_time(2000);
        wait_for("a sample", || {
            let text = host.text();
            holds(text.contains("\nsample 200000 "), text)
        });
        recorder.stop();
    }
}

mod strace {
    use super::*;
    use crate::common::new_file;

    /// The calls of a trace between two replacements of the recording.
    fn between_replacements(trace: &str, first: usize) -> Vec<String> {
        let lines: Vec<&str> = trace.lines().collect();
        let renames = lines.iter().enumerate();
        let renames = renames.filter(|(_, line)| line.starts_with("rename"));
        let places: Vec<usize> = renames.map(|(place, _)| place).collect();
        let idle = &lines[places[first] + 1..=places[first + 1]];
        idle.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn an_idle_period_is_the_clock_a_few_files_and_one_rename() {
        let host = Host::new();
        host.holds(40, 60);
        let trace = new_file();
        let words = ["strace", "-o", trace.path().to_str().unwrap(), "--"];
        let recorder = Recorder::start(&words, &host.recording(&["--record", "1"]));
        let read = || fs::read_to_string(trace.path()).unwrap();
        wait_for("four recordings", || {
            let text = read();
            let n = text.lines().filter(|line| line.starts_with("rename"));
            holds(n.count() >= 4, text.len())
        });
        // strace passes no signal on
        let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", recorder.0.pid()));
        let child = child.unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGTERM).unwrap();
        assert!(recorder.end().success());
        let idle = between_replacements(&read(), 1);
        let name = |line: &String| line.split('(').next().unwrap().to_owned();
        let allowed = [
            "poll",
            // of the debug build, before each close
            "fcntl",
            "ppoll",
            "read",
            "openat",
            "close",
            "fstat",
            "statx",
            "newfstatat",
            "lseek",
            "unlinkat",
            "write",
            "renameat",
            "renameat2",
            "rename",
            "clock_gettime",
        ];
        for line in &idle {
            assert!(
                allowed.contains(&name(line).as_str()),
                "{line} in {idle:#?}"
            );
        }
        let opened = idle.iter().filter(|line| name(line) == "openat");
        let opened: Vec<&str> = opened.filter_map(|line| line.split('"').nth(1)).collect();
        let files = [
            "/uptime",
            "/nf_conntrack_count",
            "/nf_conntrack_max",
            "/nf_conntrack_buckets",
            "/stat/nf_conntrack",
            ".recording.new",
        ];
        for path in &opened {
            assert!(files.iter().any(|file| path.ends_with(file)), "{opened:?}");
        }
        assert!(opened.len() <= files.len(), "{opened:?}");
    }
}
