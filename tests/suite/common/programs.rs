//! Programs of this host that the tests start: found wherever the user's PATH leaves them out, in an environment that
//! is the same for every user, with an empty standard input.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::folder::temporary;

/// The folders that a user's PATH may lack.
const DAEMONS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/lib/nagios/plugins"];

/// Variables of the user that would change what a program prints or where a shell script goes.
const FOREIGN: [&str; 7] = [
    "BASH_ENV",
    "CDPATH",
    "ENV",
    "LANG",
    "LANGUAGE",
    "POSIXLY_CORRECT",
    "GREP_OPTIONS",
];

/// The PATH of every program that the tests start.
fn path() -> String {
    let given = std::env::var("PATH").unwrap_or_default();
    let folders = given
        .split(':')
        .chain(DAEMONS)
        .filter(|folder| !folder.is_empty());
    folders.collect::<Vec<_>>().join(":")
}

/// Returns where a program is. Fails if it is missing: `make test` leaves out, by name, the tests whose programs are
/// missing, so that a test that runs is a test that tests.
pub fn needs(program: &str) -> PathBuf {
    let path = path();
    let mut places = path
        .split(':')
        .map(|folder| Path::new(folder).join(program));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!(
            "this test needs {program}, which is not installed: make test leaves the test out then"
        )
    })
}

/// A command that runs a program of this host.
pub fn program(name: &str) -> Command {
    fixed(Command::new(needs(name)))
}

/// A command that runs a script below tests.
pub fn script(name: &str) -> Command {
    fixed(Command::new(file(name)))
}

/// A file or folder below tests.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Gives a command the environment in which the tests start programs.
pub fn fixed(mut command: Command) -> Command {
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command
        .env("PATH", path())
        .env("LC_ALL", "C")
        .env("TZ", "UTC0")
        .env("TMPDIR", temporary());
    command.stdin(Stdio::null());
    command
}

/// A command that runs a program with the arguments in `line`, which blanks separate: `ip link set lo up`.
pub fn command_line(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = program(words.next().expect("a program"));
    command.args(words);
    command
}

/// Runs a command line and returns what it printed.
pub fn run(line: &str) -> String {
    printed(&mut command_line(line))
}

/// Runs a command and returns what it printed. Fails, with all that it printed, if the command fails.
pub fn printed(command: &mut Command) -> String {
    let output = command.output().expect("a program starts");
    assert!(output.status.success(), "{command:?}: {}", report(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command with this text on its standard input and returns what it printed.
pub fn printed_for(input: impl AsRef<[u8]>, command: &mut Command) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        let input = input.as_ref();
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("the program ends")
    });
    assert!(output.status.success(), "{command:?}: {}", report(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The end of a program and its output, for people.
pub fn report(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{stdout}{stderr}", output.status)
}

/// A process that ends when this is dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("a program starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Copies a program for every user, with mode 0755.
///
/// Another process makes the copy: if this process had the copy open for writing, a program that a test beside this one
/// starts would have the copy open too until it is executed, and Linux executes no file that is open for writing.
pub fn install(from: impl AsRef<OsStr>, to: &Path) {
    printed(program("install").arg("-m755").arg(from).arg(to));
}

/// A program of tests/kernels/tools, compiled.
pub fn compiled(name: &str) -> PathBuf {
    let source = file(&format!("kernels/tools/{name}.c"));
    let program_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let written = |path: &Path| path.metadata().and_then(|file| file.modified());
    let is_new =
        written(&program_file).is_ok_and(|then| then > written(&source).expect("a source"));
    if !is_new {
        // every test that needs it may be the first one: what stands under the name is whole
        let unfinished = tempfile::Builder::new()
            .prefix(name)
            .tempfile_in(env!("CARGO_TARGET_TMPDIR"));
        let unfinished = unfinished.expect("the folder of cargo").into_temp_path();
        printed(
            program("cc")
                .args(["-O2", "-Wall", "-Wextra", "-o"])
                .args([&*unfinished, &source]),
        );
        unfinished
            .persist(&program_file)
            .expect("the folder of cargo");
    }
    program_file
}
