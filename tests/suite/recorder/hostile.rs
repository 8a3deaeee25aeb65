//! Recordings that a check must not believe: it says why, and its verdict is the one without a recording.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Host;
use crate::common::Answer;
use crate::common::folder::set_mode;
use crate::common::programs::{printed, program};

/// A host whose recording says that the table was full since the previous run.
fn recorded() -> Host {
    let host = Host::new();
    host.check(&["-w", "peak=50"]);
    host.set_time(1010);
    host.holds(990, 10);
    host.record();
    host.set_time(1030);
    host.holds(5, 5);
    host
}

/// The verdict is UNKNOWN because the peak is not known, and the reason is this one.
fn is_not_believed(host: &Host, why: &str) {
    let answer = host.check(&["-w", "peak=50"]);
    assert_eq!(answer.code, 3, "{}", answer.text);
    assert_eq!(answer.value("peak"), None, "{}", answer.text);
    assert!(
        answer.first_line().contains(why),
        "{why:?} in {}",
        answer.text
    );
    assert!(!answer.text.contains("6379"), "{}", answer.text);
    // nobody who asks for nothing of it is alarmed
    let plain = host.check(&[]);
    assert_eq!(plain.code, 0, "{}", plain.text);
    assert!(
        plain.text.contains("recording not used: "),
        "{}",
        plain.text
    );
}

fn is_believed(host: &Host) {
    let answer = host.check(&["-w", "peak=50"]);
    assert_eq!(answer.code, 1, "{}", answer.text);
    assert_eq!(answer.value("peak").unwrap()[0], "100.0%");
}

#[test]
fn a_recording_of_this_host_is_believed() {
    is_believed(&recorded());
}

#[test]
fn a_recording_without_a_sample_for_three_periods_is_stale() {
    let host = recorded();
    host.set_time(1010 + 180);
    is_believed(&host);
    host.set_time(1010 + 181);
    is_not_believed(
        &host,
        "is 3m old (is check_conntrack-recorder.service running?)",
    );
}

#[test]
fn a_recording_of_another_boot_is_not_believed() {
    let host = recorded();
    let other = "00000000-5b1e-4a9c-8a55-0f1ff8d4b1c7\n";
    host.root.file("sys/kernel/random/boot_id", other);
    let answer = host.check(&["-v"]);
    assert!(
        answer.text.contains("is from before the last boot"),
        "{}",
        answer.text
    );
    assert_eq!(answer.value("peak"), None);
}

#[test]
fn a_recording_of_another_network_namespace_is_not_believed() {
    let host = recorded().namespace(4_026_532_999);
    is_not_believed_by_anybody(&host, "is of another network namespace");
}

#[test]
fn a_recording_of_the_future_is_not_believed() {
    let host = recorded();
    host.set_time(1009);
    is_not_believed_by_anybody(&host, "is from the future");
}

/// Also a check without a previous run says why.
fn is_not_believed_by_anybody(host: &Host, why: &str) {
    let answer: Answer = host.check(&["-w", "peak=50", "-t", "30"]);
    assert_eq!(answer.value("peak"), None, "{}", answer.text);
    assert!(
        answer.first_line().contains(why),
        "{why:?} in {}",
        answer.text
    );
}

#[test]
fn a_recording_that_others_may_write_is_not_believed() {
    for mode in [0o660, 0o606, 0o666] {
        let host = recorded();
        set_mode(&host.file(), mode);
        is_not_believed(&host, "may be written by others than its owner");
        set_mode(&host.file(), 0o640);
        is_believed(&host);
    }
    let host = recorded();
    set_mode(host.directory.path(), 0o775);
    is_not_believed(&host, "may be written by others than its owner");
    set_mode(host.directory.path(), 0o755);
}

#[test]
fn something_else_in_the_place_of_a_recording_is_no_recording() {
    let host = recorded();
    let moved = host.directory.path().join("moved");
    fs::rename(host.file(), &moved).unwrap();
    is_not_believed(&host, "does not exist");
    symlink(&moved, host.file()).unwrap();
    is_not_believed(&host, "is not a file");
    fs::remove_file(host.file()).unwrap();
    fs::create_dir(host.file()).unwrap();
    is_not_believed(&host, "is not a file");
    fs::remove_dir(host.file()).unwrap();
    printed(program("mkfifo").arg(host.file()));
    is_not_believed(&host, "is not a file");
    fs::remove_file(host.file()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(host.file()).unwrap();
    is_not_believed(&host, "is not a file");
}

#[test]
fn a_damaged_recording_is_never_believed_and_never_an_alarm() {
    let host = recorded();
    let whole = host.text();
    write(&host.file(), whole.as_bytes());
    is_believed(&host);
    // what follows the first part is read only if it is needed
    let head = check_conntrack::recording::head(&whole).unwrap().len();
    let second = |text: &[u8]| {
        write(&host.file(), text);
        let answer = host.check(&["-w", "peak=50"]);
        assert!(matches!(answer.code, 1 | 3), "{}", answer.text);
        assert!(!answer.text.contains("6379"), "{}", answer.text);
    };
    second(&whole.as_bytes()[..head]);
    second(&whole.as_bytes()[..whole.len() - 1]);
    second(whole.replace("6379", "6380").as_bytes());
    let longer = format!("{whole}{}", " ".repeat(300_000));
    second(longer.as_bytes());
    let other = whole.replacen("recording 1", "recording 2", 1);
    for (text, why) in [
        (&b""[..], "is damaged"),
        (b"\n\n\n", "is damaged"),
        (b"check_conntrack recording 1\ncheck 0\n", "is damaged"),
        (&[0xff; 5000], "is damaged"),
        (&[b'x'; 300_000], "is damaged"),
        (&whole.as_bytes()[..head - 1], "is damaged"),
        (&whole.as_bytes()[..head / 2], "is damaged"),
        (&whole.as_bytes()[1..], "is damaged"),
        (
            whole.replacen("1000 1000", "2000 1000", 1).as_bytes(),
            "is damaged",
        ),
        (other.as_bytes(), "was written by another version"),
    ] {
        write(&host.file(), text);
        is_not_believed(&host, why);
    }
}

/// Replaces the recording as a whole.
fn write(path: &Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    set_mode(path, 0o640);
}

#[test]
fn names_in_a_forged_recording_lose_what_a_host_would_interpret() {
    let host = recorded();
    host.holds(990, 10);
    let whole = host.text();
    let head = check_conntrack::recording::head(&whole).unwrap().len();
    let (first, second) = whole.split_at(head);
    let facts = &second[..second.rfind("check ").unwrap()];
    let forged = facts.replace(
        "this host to 10.0.3.7",
        "evil|usage=1%;2;3 `reboot` $(id) <b> \u{1b}[31m\u{e9} to 10.0.3.7",
    );
    let sealed = check_conntrack::model::sealed::seal(forged);
    write(&host.file(), format!("{first}{sealed}").as_bytes());
    let answer = host.check(&["--top"]);
    assert_eq!(answer.code, 2, "{}", answer.text);
    // the contract is held against every answer; the name is what is left of it
    assert!(
        answer
            .text
            .contains("evilusage=1%23 reboot (id) b [31m? to 10.0.3.7"),
        "{}",
        answer.text
    );
}

#[test]
fn a_reader_during_a_replacement_finds_one_whole_recording() {
    let host = recorded();
    let first = host.text();
    host.record();
    let texts = [first, host.text()];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for text in texts.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let next = host.directory.path().join(".next");
                write(&next, text.as_bytes());
                fs::rename(&next, host.file()).unwrap();
            }
        });
        // a test that fails must not leave the writer behind
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..50 {
                is_believed(&host);
            }
        }));
        done.store(true, Ordering::Relaxed);
        outcome.expect("every reader believes what it finds");
    });
}

mod root {
    use super::*;
    use crate::common::plugin::{AS_NOBODY, check_after};
    use std::os::unix::fs::chown;

    /// The answer of user nobody.
    fn as_nobody(host: &Host) -> Answer {
        let paths = [host.root.path(), host.directory.path()];
        let [root, directory] = paths.map(|path| path.to_str().unwrap());
        let arguments = ["--proc-root", root, "--recording", directory, "-v"];
        let mut command = check_after(&AS_NOBODY, arguments);
        Answer::of(command.output().expect("setpriv starts"))
    }

    #[test]
    fn a_recording_of_root_is_believed_by_its_group_and_denied_to_others() {
        let host = recorded();
        chown(host.file(), Some(0), Some(65534)).unwrap();
        chown(host.directory.path(), Some(0), Some(65534)).unwrap();
        set_mode(host.directory.path(), 0o750);
        let answer = as_nobody(&host);
        assert!(
            answer.text.contains("recorded every 60s"),
            "{}",
            answer.text
        );
        chown(host.file(), Some(0), Some(0)).unwrap();
        let answer = as_nobody(&host);
        assert!(
            answer.text.contains("is not readable for this user"),
            "{}",
            answer.text
        );
        assert_eq!(
            host.file().metadata().unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[test]
    fn a_recording_of_another_user_is_not_believed() {
        let host = recorded();
        chown(host.file(), Some(1), None).unwrap();
        is_not_believed(&host, "belongs to another user (uid 1)");
        chown(host.file(), Some(0), None).unwrap();
        chown(host.directory.path(), Some(1), None).unwrap();
        is_not_believed(&host, "belongs to another user (uid 1)");
        chown(host.directory.path(), Some(0), None).unwrap();
        is_believed(&host);
    }
}
