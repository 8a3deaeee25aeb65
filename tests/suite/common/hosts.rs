//! Shared by the tests with monitoring hosts: the plugin as user nagios, and the scripts of tests/hosts.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

use super::Answer;
use super::folder::new_folder;
use super::plugin::{binary, start, with_defaults};
use super::programs::{install, program, report, script};

/// The longest time that a script of a host may take, in seconds. A script has limits of its own for each of its steps;
/// only one that hangs meets this limit.
const TIME_LIMIT: &str = "600";

/// The words that start a program as the user of the monitoring hosts.
pub const AS_NAGIOS: [&str; 4] = [
    "setpriv",
    "--reuid=nagios",
    "--regid=nagios",
    "--clear-groups",
];

/// The binary where every user can run it: the folders above the build are not everybody's.
pub struct Plugin {
    pub path: String,
    _directory: tempfile::TempDir,
}

impl Plugin {
    pub fn for_everybody() -> Self {
        let directory = new_folder();
        let path = directory.path().join("check_conntrack");
        install(binary(), &path);
        Self {
            path: path.into_os_string().into_string().expect("ASCII"),
            _directory: directory,
        }
    }
}

/// Runs the plugin as the hosts do.
pub fn as_nagios(words: &[&str]) -> Answer {
    let (plugin, arguments) = words.split_first().expect("a program");
    let arguments = with_defaults(arguments);
    let mut command = start(&AS_NAGIOS, plugin.as_ref(), &arguments);
    Answer::of(command.output().expect("setpriv starts"))
}

/// A command that runs a script of tests/hosts, or another one below tests, started by these words.
pub fn host_by(words: &[&str], name: &str) -> Command {
    let script = script(name);
    let mut command = program("timeout");
    command.args(["--kill-after=5", TIME_LIMIT]).args(words);
    command.arg(script.get_program());
    command
}

/// Runs a script of tests/hosts.
pub fn host<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> Output {
    let mut command = host_by(&[], &format!("hosts/{name}"));
    command.args(arguments).envs(environment.iter().copied());
    command.output().expect("timeout starts")
}

/// Like `host`, and what it printed when all went well.
pub fn successful_host<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> String {
    let output = host(name, arguments, environment);
    assert!(output.status.success(), "{name}: {}", report(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command line through check_nrpe and a daemon of user nagios. Returns the exit status and the text that arrive.
pub fn through_nrpe(command_line: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let output = on_a_free_port(|port| host("nrpe.sh", [port, command_line], environment));
    match output.status.code() {
        Some(code @ 0..=3) => (code, String::from_utf8(output.stdout).expect("ASCII")),
        _ => panic!("nrpe.sh: {}", report(&output)),
    }
}

/// Calls `run` with a port until the daemon that it starts gets it: the port is free when it is looked for, and should
/// another process take it before the daemon does, there are others. Exit status 99 says that it was taken.
pub fn on_a_free_port(run: impl Fn(&str) -> Output) -> Output {
    for _ in 0..5 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port().to_string();
        drop(listener);
        let output = run(&port);
        if output.status.code() != Some(99) {
            return output;
        }
    }
    panic!("no daemon came up on five ports");
}

/// The objects of a state file: `LENGTH:JSON,` each.
pub fn netstrings(mut rest: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    while let Some((length, behind)) = rest.split_once(':') {
        let length: usize = length.parse().expect("a length");
        objects.push(serde_json::from_str(&behind[..length]).expect("JSON"));
        rest = behind[length..].strip_prefix(',').expect("a comma");
    }
    assert_eq!(rest, "");
    objects
}
