//! Abnormal ends: a panic, signals, a time limit that runs out while the kernel does not answer.

use crate::common::Answer;
use crate::common::namespaces::this_test;

#[test]
fn a_panic_is_unknown() {
    if this_test!().part().is_some() {
        check_conntrack::runtime::output::catch_panics();
        panic!("x|evil=1;\n\u{1b}[31m{}", "y".repeat(2000));
    }
    let output = this_test!()
        .again(&[], "panic")
        .arg("--quiet")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("CONNTRACK"))
        .unwrap();
    let line = &line[line.find("CONNTRACK").unwrap()..];
    assert!(
        line.starts_with("CONNTRACK is UNKNOWN: internal error at tests/suite/runtime/endings.rs:"),
        "{line}"
    );
    assert!(
        line.contains("xevil=1[31myyy") && !line.contains(['|', ';']) && line.len() < 300,
        "{line}"
    );
}

/// A file system that never answers, as a stuck lxcfs or network mount does.
mod hang {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};
    use std::process::Stdio;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::Answer;
    use crate::common::ProcRoot;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::plugin::check_after;
    use crate::common::wait::{holds, wait_for};

    const INIT: u32 = 26;
    const INTERRUPT: u32 = 36;
    const FORGET: u32 = 2;

    /// Mounts a FUSE file system that answers nothing but its own beginning, and lets go of a caller only when a signal
    /// comes for him.
    fn mount_silence(at: &Path) -> Silence {
        let mut device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .expect("/dev/fuse");
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        nix::mount::mount(
            Some("silence"),
            at,
            Some("fuse"),
            nix::mount::MsFlags::empty(),
            Some(options.as_str()),
        )
        .expect("a mount in our own namespace");
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        std::thread::spawn(move || serve(&mut device, &counter));
        Silence {
            at: at.to_owned(),
            waiting,
        }
    }

    /// A file system that does not answer. Its mount is taken away before anybody tries to tidy up below it.
    struct Silence {
        at: PathBuf,
        /// Requests that wait for an answer, or waited.
        waiting: Arc<AtomicUsize>,
    }

    impl Silence {
        fn waiting(&self) -> usize {
            self.waiting.load(Ordering::SeqCst)
        }
    }

    impl Drop for Silence {
        fn drop(&mut self) {
            let _ = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH);
        }
    }

    /// include/uapi/linux/fuse.h: a header of 40 bytes (length, opcode, unique id) before each request, one of 16
    /// (length, error, unique id) before each answer.
    fn serve(device: &mut File, waiting: &AtomicUsize) {
        let mut request = vec![0_u8; 1 << 16];
        while let Ok(n) = device.read(&mut request) {
            let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
            let (opcode, unique) = (word(4), &request[8..16]);
            let mut answer = |error: i32, unique: &[u8], body: &[u8]| {
                let length = 16 + body.len() as u32;
                let whole = [
                    &length.to_ne_bytes(),
                    &error.to_ne_bytes()[..],
                    unique,
                    body,
                ]
                .concat();
                let _ = device.write_all(&whole);
            };
            match opcode {
                INIT => {
                    // version 7.31, everything else at its least: fuse_init_out
                    let mut body = [0_u8; 64];
                    body[0..4].copy_from_slice(&7_u32.to_ne_bytes());
                    body[4..8].copy_from_slice(&31_u32.to_ne_bytes());
                    body[20..24].copy_from_slice(&4096_u32.to_ne_bytes());
                    answer(0, unique, &body);
                }
                // the request that is to be given up stands in the body
                INTERRUPT if n >= 48 => answer(-4, &request[40..48], &[]),
                INTERRUPT | FORGET => {}
                _ => {
                    waiting.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }

    fn silent_below(root: &ProcRoot, directory: &str) -> Silence {
        let at = root.path().join(directory);
        std::fs::create_dir_all(&at).unwrap();
        mount_silence(&at)
    }

    #[test]
    fn a_count_that_never_comes_is_unknown_at_the_time_limit() {
        inside!(Namespaces::Network);
        let root = ProcRoot::tracking("950\n", "1000\n");
        let _silence = silent_below(&root, "sys/net/netfilter");
        let begin = Instant::now();
        let got = root.answer(&["-t", "1"]);
        // not before its time
        assert!(begin.elapsed() >= Duration::from_millis(900));
        assert_eq!(got.code, 3);
        assert_eq!(
            got.text,
            "CONNTRACK is UNKNOWN: timed out before the number of entries and the limit were read\n"
        );
        // the same for a host that blocks the alarm in everything it starts
        let arguments = ["--proc-root", root.path().to_str().unwrap(), "-t", "1"];
        let output = check_after(&["env", "--block-signal=ALRM"], arguments)
            .output()
            .unwrap();
        assert_eq!(Answer::of(output), got);
    }

    #[test]
    fn statistics_that_never_come_leave_the_verdict_of_what_was_read() {
        inside!(Namespaces::Network);
        let root = ProcRoot::tracking("950\n", "1000\n");
        let _silence = silent_below(&root, "net/stat");
        // a busy host reads two small files within this time, too
        let got = root.answer(&["-t", "5"]);
        assert_eq!(got.code, 2, "{}", got.text);
        assert!(
            got.first_line().starts_with(
                "CONNTRACK is CRITICAL: 95.0% full, timed out after 5 s, the remaining data is missing - "
            ),
            "{}",
            got.text
        );
        assert_eq!(
            got.value("entries").unwrap(),
            ["950", "800", "900", "0", "1000"]
        );
    }

    #[test]
    fn signals_before_the_verdict_are_unknown() {
        inside!(Namespaces::Network);
        use nix::sys::signal::{Signal, kill};
        let root = ProcRoot::tracking("950\n", "1000\n");
        let silence = silent_below(&root, "net/stat");
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let before = silence.waiting();
            let child = root
                .check(&[])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            wait_for("the check to wait for the statistics", || {
                holds(silence.waiting() > before, "no request")
            });
            kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
            let got = Answer::of(child.wait_with_output().unwrap());
            assert_eq!(got.code, 3, "{signal}");
            assert_eq!(
                got.text,
                "CONNTRACK is UNKNOWN: terminated by a signal before the check completed\n"
            );
        }
    }
}
