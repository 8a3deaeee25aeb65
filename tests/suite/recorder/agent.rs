//! The agent of a monitoring system beside a recorder: a user without privilege, in the group of the recording.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::folder::set_mode;
use crate::common::new_folder;

/// A directory of root that this group may look into and nobody else, as the unit of the recorder makes it.
fn directory_for(group: u32) -> TempDir {
    let directory = new_folder();
    chown(directory.path(), Some(0), Some(group)).expect("root");
    set_mode(directory.path(), 0o750);
    directory
}

/// The file about the only incident.
fn incident(kept: &Path) -> PathBuf {
    let files = fs::read_dir(kept.join("incidents")).expect("an incident");
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// A real NRPE, whose user has no capability, and a table that is really full.
mod nrpe {
    mod admin {
        use std::net::{SocketAddr, TcpStream};
        use std::process::Command;
        use std::time::Duration;

        use super::super::super::{Directories, Recorder, TimeOfDay, last_count};
        use super::super::*;
        use crate::common::hosts::{Plugin, through_nrpe};
        use crate::common::namespaces::{Namespaces, inside};
        use crate::common::network::{loopback_up, track};
        use crate::common::programs::{compiled, printed, program, run};
        use crate::common::wait::{holds, wait_for};
        use crate::common::{MAX, conntrack};
        use crate::roles::{Client, Role};

        const REDIS: &str = "10.0.3.7:6379";
        /// The full table in the file about the incident.
        const DESCRIBED: [&str; 2] = ["|usage=100.0%;", "1. to 10.0.3.7:6379/tcp local: "];

        /// The number of user or group nagios: `-u` or `-g`.
        fn nagios(which: &str) -> u32 {
            let number = printed(program("id").args([which, "nagios"]));
            number.trim().parse().expect("a number")
        }

        /// Directories as the units of the recorder and of the agent make them, and the namespace of a job server.
        struct Host {
            plugin: Plugin,
            at: Directories,
        }

        impl Host {
            fn new() -> Self {
                loopback_up();
                // the sources of the entries that ctload makes
                for last in 1..=9 {
                    run(&format!("ip address add 10.0.0.{last}/32 dev lo"));
                }
                run("ip address add 10.0.3.7/32 dev lo");
                track();
                let [user, group] = ["-u", "-g"].map(nagios);
                let state = new_folder();
                chown(state.path(), Some(user), Some(group)).expect("root");
                Self {
                    plugin: Plugin::for_everybody(),
                    at: Directories {
                        recording: directory_for(group),
                        kept: directory_for(group),
                        state,
                    },
                }
            }

            fn record(&self) -> Recorder {
                let words = ["setpriv", "--regid=nagios", "--clear-groups"];
                let recorder = self.at.record(&words, &[]);
                self.wait_for("a first sample", |text| text.contains("\nsample "));
                recorder
            }

            fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) {
                wait_for(what, || {
                    let text = self.at.text();
                    holds(is_there(&text), text)
                });
            }

            /// The files about incidents.
            fn described(&self) -> Vec<String> {
                let Ok(files) = fs::read_dir(self.at.kept.path().join("incidents")) else {
                    return Vec::new();
                };
                let texts = files
                    .flatten()
                    .flat_map(|file| fs::read_to_string(file.path()));
                texts.collect()
            }

            /// The answer of the agent.
            fn check(&self) -> (i32, String) {
                let paths = [self.at.recording.path(), self.at.state.path()];
                let [recording, state] = paths.map(|path| path.to_str().unwrap());
                let plugin = &self.plugin.path;
                let line =
                    format!("{plugin} -t 60 --recording {recording} --state-dir {state} -c lost=0");
                through_nrpe(&line, &[])
            }
        }

        /// Fills the table up with connections that the job server closed. The limit is one number for the whole kernel and
        /// far away, so ctload makes most of them.
        fn fill() {
            let limit = fs::read_to_string(Path::new("/proc").join(MAX)).expect("a limit");
            let to = format!("to={REDIS}");
            let mut ctload = Command::new(compiled("ctload"));
            ctload.args([limit.trim(), "state=time_wait", &to]);
            assert!(ctload.output().expect("ctload starts").status.success());
        }

        /// A job server that connects to a Redis again and again, until the kernel drops its packets because the table is
        /// full. Returns while its last connections are open.
        fn flood() -> [Role; 3] {
            let server = Role::server(&[], REDIS);
            // a busy host reads a small part of a large table in time: some of it is open
            let client = Client {
                dial: REDIS,
                comm: "sidekiq",
                threads: 1,
                held: 500,
                closed: 20,
            };
            let [first, second] = [(); 2].map(|()| Role::client(&[], &client));
            fill();
            let redis: SocketAddr = REDIS.parse().unwrap();
            wait_for("packets that the kernel drops", || {
                let _ = TcpStream::connect_timeout(&redis, Duration::from_millis(200));
                let drops = conntrack::counter("drop");
                holds(drops > 1, drops)
            });
            [server, first, second]
        }

        #[test]
        fn the_next_check_through_nrpe_says_what_was_lost_when_the_peak_was_who_it_was_and_the_file()
         {
            inside!(Namespaces::RootProcesses);
            let host = Host::new();
            let recorder = host.record();
            let (code, text) = host.check();
            assert_eq!(code, 0, "{text}");
            let begin = TimeOfDay::now();
            let burst = flood();
            wait_for("a look at the full table that names the process", || {
                let (text, described) = (host.at.text(), host.described());
                // the first moment of an incident may have come before a look
                let is_described = described
                    .iter()
                    .any(|text| DESCRIBED.iter().all(|part| text.contains(part)));
                let is_named = text.contains("\nfinding 8 sidekiq ") && is_described;
                if !is_named {
                    // the kernel evicts some closed ones
                    fill();
                }
                holds(is_named, (described, text))
            });
            drop(burst);
            let end = TimeOfDay::now();
            let lost = conntrack::counter("drop");
            conntrack::flush();
            host.wait_for("a sample of the calm table", |text| {
                last_count(text).is_some_and(|count| count < 1000)
            });
            let (code, text) = host.check();
            assert_eq!(code, 2, "{text}");
            let file = incident(host.at.kept.path());
            for wanted in [
                &format!("lost {lost} packets between two checks (the table was full in the last "),
                "), not now",
                " UTC: sidekiq to 10.0.3.7:6379/tcp held ",
                &format!("\nlook: cat {} (", file.display()),
            ] {
                assert!(text.contains(wanted), "{wanted:?} in {text}");
            }
            let (_, peak) = text.split_once(" - peaked at 100.0% at ").expect(&text);
            let peak = TimeOfDay::of(&peak[..8]);
            assert!(peak.is_between(begin, end), "{begin:?} to {end:?}: {text}");
            // the agent may read the file that the answer names
            let words = ["--reuid=nagios", "--regid=nagios", "--clear-groups", "cat"];
            let story = printed(program("setpriv").args(words).arg(&file));
            for wanted in ["First moment, "].iter().chain(&DESCRIBED) {
                assert!(story.contains(wanted), "{wanted:?} in {story}");
            }
            recorder.stop();
        }
    }
}

mod root {
    use super::super::{Host, TABLE};
    use super::*;
    use crate::common::Answer;
    use crate::common::plugin::{AS_NOBODY, check_after};
    use crate::common::programs::{printed, program};

    const GROUP: u32 = 65534;

    /// A command of a shell on these paths, by the agent.
    fn agent_may(command: &str, path: &Path) -> bool {
        let mut shell = program(AS_NOBODY[0]);
        shell
            .args(&AS_NOBODY[1..])
            .args(["sh", "-c", command, "sh"]);
        shell.arg(path).output().expect("a shell").status.success()
    }

    #[test]
    fn an_agent_in_the_group_names_who_it_was_reads_the_file_of_the_incident_and_changes_nothing() {
        let host = Host {
            directory: directory_for(GROUP),
            kept: directory_for(GROUP),
            ..Host::new()
        };
        host.holds(930, 70);
        host.record_by(&["setpriv", "--regid=65534", "--clear-groups"]);
        let table = host.root.path().join(TABLE);
        set_mode(&table, 0o440);
        let paths = [host.root.path(), host.directory.path()];
        let [root, directory] = paths.map(|path| path.to_str().unwrap());
        let arguments = ["--proc-root", root, "--recording", directory];
        let mut command = check_after(&AS_NOBODY, arguments);
        let answer = Answer::of(command.output().expect("setpriv starts"));
        assert_eq!(answer.code, 2, "{}", answer.text);
        let who = "this host to 10.0.3.7:6379/tcp holds 93% of the entries";
        assert!(answer.text.contains(who), "{}", answer.text);
        let incident = incident(host.kept.path());
        let folder = incident.parent().unwrap();
        assert!(!agent_may("cat \"$1\"", &table));
        for file in [&host.file(), &incident] {
            assert!(agent_may("cat \"$1\"", file), "{file:?}");
            assert!(!agent_may(": >>\"$1\"", file), "{file:?}");
            assert!(!agent_may("rm -f \"$1\"", file), "{file:?}");
        }
        for directory in [host.directory.path(), host.kept.path(), folder] {
            assert!(agent_may("ls \"$1\"", directory), "{directory:?}");
            assert!(!agent_may(": >\"$1/new\"", directory), "{directory:?}");
        }
        // another user, in another group
        let other = ["--reuid=65534", "--regid=65533", "--clear-groups", "cat"];
        for file in [&host.file(), &incident] {
            let output = program("setpriv").args(other).arg(file).output().unwrap();
            assert!(!output.status.success(), "{file:?}");
        }
        assert!(printed(program("cat").arg(&incident)).contains("First moment, "));
    }
}
