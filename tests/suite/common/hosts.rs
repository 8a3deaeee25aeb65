//! What the tests with monitoring hosts share: the plugin as user nagios, and the scripts of tests/hosts.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Answer, binary, needs};

/// The binary where every user can run it: the folders above the build are not everybody's.
pub struct Plugin {
    pub path: String,
    directory: tempfile::TempDir,
}

impl Plugin {
    pub fn for_everybody() -> Self {
        needs_root();
        let directory = tempfile::Builder::new()
            .prefix("check_conntrack-plugin.")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .expect("a temporary directory");
        let path = directory.path().join("check_conntrack");
        // in a process of its own: while a test beside this one starts a program, that program has our open files for
        // a moment, and Linux does not execute what somebody has open for writing
        let mut install = Command::new("install");
        install.arg("-m755").arg(binary()).arg(&path);
        assert!(install.status().expect("install starts").success());
        Self {
            path: path.into_os_string().into_string().expect("ASCII"),
            directory,
        }
    }
}

/// Runs a program as the hosts do.
pub fn as_nagios(words: &[&str]) -> Answer {
    let mut command = Command::new(needs("setpriv", "util-linux"));
    command.args(["--reuid=nagios", "--regid=nagios", "--clear-groups", "--"]);
    Answer::of(
        command
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("setpriv starts"),
    )
}

pub fn needs_root() {
    let user = fs::metadata("/proc/self").expect("a procfs").uid();
    assert_eq!(
        user, 0,
        "this test starts a monitoring host and needs root: run make test, which leaves it out otherwise"
    );
}

/// Runs a script of tests/hosts, which has a minute: a host that hangs fails its test.
pub fn host<S: AsRef<OsStr>>(
    script: &str,
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> Output {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts");
    Command::new("timeout")
        .args(["--kill-after=5", "60"])
        .arg(scripts.join(script))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("timeout starts")
}

/// Like `host`, and what it printed when all went well.
pub fn successful_host<S: AsRef<OsStr>>(
    script: &str,
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> String {
    let output = host(script, arguments, environment);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}: {}\n{stderr}",
        output.status
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Calls `run` with a port until the daemon that it starts gets it: the port is free when it is looked for, and should
/// somebody take it before the daemon does, there are others. Exit status 99 says that it was taken.
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
