//! Writes the man page and the completions of three shells into a folder: `manual FOLDER DATE VERSION`. An example of
//! the package and not a part of the program, which stays as small as it is. `make man completions` calls it.

use std::path::Path;
use std::{env, error, fs, io};

use check_conntrack::judge::metric::Metric;
use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::{Generator, Shell};

/// The man page, but for what the command line knows better.
const PAGE: &str = include_str!("check_conntrack.8.in");

/// The options that take one of a few words.
const WORDS: [(&str, &[&str]); 5] = [
    ("top-when", &["always", "problem"]),
    (
        "source",
        &["auto", "netlink", "procfs", "sockets", "recording"],
    ),
    ("absent", &["ok", "warning", "critical", "unknown"]),
    ("empty", &["ok", "warning", "critical", "unknown"]),
    ("netns", &["self", "all"]),
];

/// The man page of that date (YYYY-MM-DD) and version.
pub(crate) fn page(date: &str, version: &str) -> io::Result<String> {
    let mut options = Vec::new();
    clap_mangen::Man::new(check_conntrack::cli::command()).render_options_section(&mut options)?;
    let options = String::from_utf8_lossy(&options).into_owned();
    // The text before the first heading only defines Aq, the apostrophe. The headings of the help are below OPTIONS.
    let (_, options) = options.split_once(".SH ").unwrap_or_default();
    let mut options = format!(".SS {}", options.replace("\n.SH ", "\n.SS "));
    for argument in check_conntrack::cli::command().get_arguments() {
        let heading = argument.get_help_heading().unwrap_or_default();
        options = options.replace(&heading.to_uppercase(), heading);
    }
    let options = options.replace("\\*(Aq", "\\(aq");
    Ok(PAGE
        .replace("@DATE@", date)
        .replace("@VERSION@", version)
        .replace("@OPTIONS@\n", &options))
}

/// The command line with the words that each option accepts, and for a threshold the metrics. The program judges them
/// itself, see src/cli.
pub(crate) fn command() -> Command {
    let mut command = check_conntrack::cli::command();
    for (id, words) in WORDS {
        command = command.mut_arg(id, |arg| arg.value_parser(PossibleValuesParser::new(words)));
    }
    // clap keeps words for as long as the program runs
    let metrics: Vec<&'static str> = Metric::all()
        .map(|metric| &*format!("{metric}=").leak())
        .collect();
    for id in ["warning", "critical"] {
        command = command.mut_arg(id, |arg| {
            arg.value_parser(PossibleValuesParser::new(metrics.clone()))
        });
    }
    command
        .mut_arg("table", |arg| arg.value_hint(ValueHint::FilePath))
        .mut_arg("recording", |arg| arg.value_hint(ValueHint::DirPath))
        .mut_arg("state-dir", |arg| arg.value_hint(ValueHint::DirPath))
        .mut_arg("proc-root", |arg| arg.value_hint(ValueHint::DirPath))
}

/// The completion of one shell.
pub(crate) fn completion(shell: Shell) -> io::Result<String> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "check_conntrack", &mut text);
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    // The range follows in the same word. fish puts no blank after a =, bash and zsh must be told.
    let words = "=\" -- \"${cur}\"))\n";
    let no_blank = "                    compopt -o nospace 2>/dev/null || true\n";
    Ok(match shell {
        Shell::Bash => text.replace(words, &format!("{words}{no_blank}")),
        Shell::Zsh => text
            .replace(":(usage=", ":compadd -S \"\" - usage=")
            .replace("other=)'", "other='"),
        _ => text,
    })
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(folder), Some(date), Some(version)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: manual FOLDER DATE VERSION".into());
    };
    fs::create_dir_all(&folder)?;
    fs::write(
        Path::new(&folder).join("check_conntrack.8"),
        page(&date, &version)?,
    )?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let name = shell.file_name("check_conntrack");
        fs::write(Path::new(&folder).join(name), completion(shell)?)?;
    }
    Ok(())
}
