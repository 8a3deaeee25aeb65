//! Signals: at whatever moment they come, stdout has one text, and the exit status is the one that this text names.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::plugin::check_after;
use crate::common::programs::file;
use crate::common::wait::{PATIENCE, in_mask, wait_for, wait_until_handled};
use crate::common::{Answer, ProcRoot, check};

/// The signals that end a check.
const ENDING: [Signal; 5] = [
    Signal::SIGALRM,
    Signal::SIGXCPU,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
];

/// A table whose verdict is CRITICAL, so that no other end has its exit status.
fn nearly_full() -> ProcRoot {
    ProcRoot::tracking("950\n", "1000\n")
}

fn arguments(root: &ProcRoot) -> [&str; 2] {
    ["--proc-root", root.path().to_str().unwrap()]
}

/// The words that start a process with the signals above blocked, so that a signal that comes before its first line
/// waits for that.
const WITH_BLOCKED_SIGNALS: [&str; 2] = ["env", "--block-signal=ALRM,XCPU,TERM,INT,HUP"];

/// The possible output of a run that gets one of these signals: the whole report, or the text for that signal.
fn assert_right(got: &Answer, whole: &Answer, signals: &[Signal], when: &str) {
    if got == whole {
        return;
    }
    let text = got.text.as_str();
    let right = signals.iter().any(|signal| match signal {
        // the verdict on what was read, or that nothing was
        Signal::SIGALRM => {
            (got.code, text)
                == (
                    3,
                    "CONNTRACK is UNKNOWN: timed out before the number of entries and the limit were read\n",
                )
                || got.code == whole.code
                    && text.contains(", timed out after ")
                    && got.value("entries") == whole.value("entries")
        }
        Signal::SIGXCPU => {
            (got.code, text)
                == (
                    3,
                    "CONNTRACK is UNKNOWN: CPU time limit (RLIMIT_CPU) reached before the check completed\n",
                )
        }
        _ => {
            (got.code, text)
                == (
                    3,
                    "CONNTRACK is UNKNOWN: terminated by a signal before the check completed\n",
                )
        }
    });
    assert!(right, "{when}: exit status {}, {text}", got.code);
}

/// A small generator (Knuth's MMIX), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// So many rounds (SIGNAL_ROUNDS); `make soak` makes it thousands. One to three signals come within microseconds, at a
/// moment between the start of the program and its end.
#[test]
fn signals_at_random_moments_leave_one_text_and_its_exit_status() {
    let rounds = std::env::var("SIGNAL_ROUNDS").map_or(300, |text| text.parse().expect("a number"));
    let root = nearly_full();
    let whole = Answer::of(check(arguments(&root)).output().unwrap());
    assert_eq!(whole.code, 2);
    let mut random = Random(20_261_128);
    let (mut ended, begin) = (0, Instant::now());
    for round in 0..rounds {
        let signals: Vec<Signal> = (0..1 + random.below(3))
            .map(|_| ENDING[random.below(5) as usize])
            .collect();
        let moment = Duration::from_micros(random.below(2000));
        let child = check_after(&WITH_BLOCKED_SIGNALS, arguments(&root))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // from then on none of them ends the process by itself, whether it is env or the check
        let started = Instant::now();
        while !in_mask(child.id(), "SigBlk", Signal::SIGTERM)
            && !in_mask(child.id(), "SigCgt", Signal::SIGTERM)
        {
            let waited = started.elapsed();
            assert!(waited < PATIENCE, "{waited:?} until signals are blocked");
        }
        let started = Instant::now();
        while started.elapsed() < moment {
            std::hint::spin_loop();
        }
        for signal in &signals {
            // not an error of a process that has ended: it is not waited for yet
            kill(Pid::from_raw(child.id() as i32), *signal).unwrap();
        }
        let got = Answer::of(child.wait_with_output().unwrap());
        let when = format!("round {round}, {signals:?} after {moment:?}");
        assert_right(&got, &whole, &signals, &when);
        ended += u32::from(got != whole);
    }
    if let Some(report) = std::env::var_os("SOAK_REPORT") {
        let took = begin.elapsed().as_secs();
        let line = format!(
            "soak: {rounds} runs with signals at random moments in {took} s, {ended} ended by them, \
             every text with its exit status\n"
        );
        std::fs::write(report, line).unwrap();
    }
}

#[test]
fn signals_that_waited_since_before_the_start_are_answered() {
    let root = nearly_full();
    let whole = Answer::of(check(arguments(&root)).output().unwrap());
    for signals in [
        &[Signal::SIGTERM][..],
        &[Signal::SIGALRM],
        &[Signal::SIGHUP, Signal::SIGINT],
        &ENDING,
    ] {
        let names = signals.iter().map(|signal| &signal.as_str()[3..]);
        let names = names.collect::<Vec<_>>().join(" ");
        let script = file("scripts/with-signals");
        let pending = [script.to_str().unwrap(), &names];
        let words = [&WITH_BLOCKED_SIGNALS[..], &pending].concat();
        for more in [&[][..], &["-h"], &["--nope"]] {
            let all = [&arguments(&root)[..], more].concat();
            let output = check_after(&words, all).output().unwrap();
            let got = Answer::of(output);
            let when = format!("{signals:?} {more:?}");
            assert_eq!(got.code, 3, "{when}: {}", got.text);
            assert_right(&got, &whole, signals, &when);
        }
    }
}

#[test]
fn a_check_that_waits_for_its_reader_ends_soon_after_a_signal() {
    use std::io::{ErrorKind, Write};
    use std::os::unix::net::UnixStream;
    let root = nearly_full();
    for signal in ENDING {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while match writer.write(&[b'.'; 4096]) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        } {}
        writer.set_nonblocking(false).unwrap();
        let [option, path] = arguments(&root);
        let mut child = check([option, path, "-t", "3600"])
            .stdout(std::os::fd::OwnedFd::from(writer))
            .spawn()
            .unwrap();
        wait_until_handled(child.id(), signal);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = wait_for(&format!("the end of a check that got {signal}"), || {
            child.try_wait().unwrap().ok_or("it runs")
        });
        assert_eq!(status.code(), Some(3), "{signal}");
        drop(reader);
    }
}

mod strace {
    use super::*;

    /// Runs the check under strace with these faults.
    fn run(faults: &[String], arguments: &[&str]) -> Output {
        let mut words = vec!["strace", "-o", "/dev/null"];
        words.extend(faults.iter().flat_map(|fault| ["-e", fault]));
        check_after(&words, arguments).output().unwrap()
    }

    /// The calls of a run, each with its number among those of its name.
    fn calls(arguments: &[&str]) -> Vec<(String, usize)> {
        let (_, calls) = crate::runtime::faults::strace::run(arguments, None);
        let mut numbered: Vec<(String, usize)> = Vec::new();
        for call in &calls {
            numbered.push((call.clone(), how_many(&numbered, call) + 1));
        }
        numbered
    }

    fn how_many(calls: &[(String, usize)], name: &str) -> usize {
        calls.iter().filter(|(call, _)| call == name).count()
    }

    fn short(signal: Signal) -> &'static str {
        &signal.as_str()[3..]
    }

    /// A signal during each call of a run, and so between any two of its steps that show from outside. One signal for
    /// each call in turn; with FAULTS=all each of them.
    #[test]
    fn a_signal_during_any_call_leaves_one_text_and_its_exit_status() {
        let all = std::env::var_os("FAULTS").is_some_and(|faults| faults == "all");
        let root = nearly_full();
        let arguments = arguments(&root);
        let whole = Answer::of(check(arguments).output().unwrap());
        let calls = calls(&arguments);
        // the first call of main after its handlers are there
        let first = calls.iter().position(|(call, _)| call == "prctl").unwrap();
        assert!(how_many(&calls[first..], "write") == 1, "{calls:?}");
        for (place, (call, number)) in calls[first..].iter().enumerate() {
            for signal in ENDING.iter().skip(if all { 0 } else { place % 5 }) {
                let fault = format!("inject={call}:signal={}:when={number}", short(*signal));
                let got = Answer::of(run(std::slice::from_ref(&fault), &arguments));
                assert_right(&got, &whole, &[*signal], &fault);
                if call == "write" {
                    assert_eq!(got, whole, "{fault}: the text was out");
                }
                if !all {
                    break;
                }
            }
        }
    }

    /// The second signal comes during each call that the handler of the first one makes.
    #[test]
    fn a_second_signal_while_the_first_is_answered_changes_nothing() {
        let root = nearly_full();
        let arguments = arguments(&root);
        let whole = Answer::of(check(arguments).output().unwrap());
        let calls = calls(&arguments);
        // once there is a verdict
        let last_file = how_many(&calls, "openat");
        for (first, second) in [
            (Signal::SIGTERM, Signal::SIGTERM),
            (Signal::SIGTERM, Signal::SIGALRM),
            (Signal::SIGALRM, Signal::SIGINT),
            (Signal::SIGALRM, Signal::SIGALRM),
        ] {
            let one = format!("inject=openat:signal={}:when={last_file}", short(first));
            let alone = Answer::of(run(std::slice::from_ref(&one), &arguments));
            assert_ne!(alone, whole);
            assert_right(&alone, &whole, &[first], &one);
            let handlers = calls_of_the_handler(&one, &arguments);
            assert!(handlers.contains(&("write".to_owned(), 1)), "{handlers:?}");
            for (call, number) in handlers {
                let other = format!("inject={call}:signal={}:when={number}", short(second));
                let got = Answer::of(run(&[one.clone(), other.clone()], &arguments));
                assert_eq!(got, alone, "{one}, {other}");
            }
        }
    }

    /// The calls that the handler of this fault's signal makes, each with its number in the run.
    fn calls_of_the_handler(fault: &str, arguments: &[&str]) -> Vec<(String, usize)> {
        let log = crate::common::new_file();
        let path = log.path().to_str().unwrap();
        let words = ["strace", "-o", path, "-e", fault];
        check_after(&words, arguments).output().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let (before, after) = text.split_once("\n--- SIG").expect("a signal");
        let names = |lines: &str| -> Vec<String> {
            let calls = lines.lines().filter_map(|line| line.split_once('('));
            calls.map(|(name, _)| name.to_owned()).collect()
        };
        // behind the signal's own line
        let (mut seen, handlers) = (names(before), names(after.split_once('\n').unwrap().1));
        let numbered = handlers.into_iter().map(|name| {
            seen.push(name.clone());
            let number = seen.iter().filter(|call| **call == name).count();
            (name, number)
        });
        numbered.collect()
    }

    #[test]
    fn a_time_limit_between_the_write_and_the_end_leaves_the_status_of_the_text() {
        let root = nearly_full();
        let arguments = arguments(&root);
        let whole = Answer::of(check(arguments).output().unwrap());
        let late = [&arguments[..], &["-t", "3"]].concat();
        // the text is out, and the call returns half a second after the time limit
        let fault = "inject=write:delay_exit=3500000".to_owned();
        assert_eq!(Answer::of(run(&[fault], &late)), whole);
    }
}
