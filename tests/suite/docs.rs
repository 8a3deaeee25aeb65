//! The documentation: its outputs are those of the binary, the binary accepts its command lines and those of the examples
//! for monitoring hosts, and its links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::programs::{printed, script};
use crate::common::{Answer, binary, check};
use check_conntrack::cli::{Elevation, parse};

mod pages;

#[test]
fn every_output_in_the_documentation_is_what_is_printed() {
    printed(script("docs-outputs").arg(binary()));
}

#[test]
fn every_option_is_in_the_reference() {
    let reference = include_str!("../../docs/options-and-metrics.md");
    let command = check_conntrack::cli::command();
    for option in command
        .get_arguments()
        .filter(|option| !option.is_hide_set())
    {
        let long = option.get_long().expect("every option has a long name");
        let short = option.get_short().map(|short| format!("`-{short}"));
        let found = reference.contains(&format!("--{long}"))
            || short.is_some_and(|short| reference.contains(&short));
        assert!(found, "--{long}");
    }
}

#[test]
fn every_metric_is_in_the_reference() {
    let reference = include_str!("../../docs/options-and-metrics.md");
    for metric in check_conntrack::judge::metric::Metric::all() {
        assert!(reference.contains(&format!("`{metric}`")), "{metric}");
    }
}

/// Each label, in its order: that of the performance data of the longest run there is, and what that one lacks.
#[test]
fn every_label_is_in_the_description_of_the_output() {
    let output = include_str!("../../docs/output.md");
    let described: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .filter(|(_, rest)| rest.matches('|').count() == 3)
        .map(|(label, _)| label)
        .collect();
    let arguments = [
        "--proc-root",
        "tests/cases/table-below-proc-root/proc",
        "--top",
        "--warning=expect=80",
    ];
    let run = check(arguments).current_dir(root()).output().unwrap();
    let printed = Answer::of(run).perfdata();
    let labels: Vec<&str> = printed
        .iter()
        .filter_map(|value| value.split('=').next())
        .collect();
    let elsewhere = ["lost", "growth", "full_in", "namespaces", "peak"];
    let here: Vec<&str> = described
        .iter()
        .copied()
        .filter(|label| !elsewhere.contains(label))
        .collect();
    assert_eq!(here, labels);
    assert!(
        elsewhere.iter().all(|label| described.contains(label)),
        "{described:?}"
    );
    // free has no value of its own; the four counters are metrics by their increase
    let metrics =
        check_conntrack::judge::metric::Metric::all().filter(|metric| metric.to_string() != "free");
    assert_eq!(described.len(), metrics.count() + 1);
}

// ---- the command lines --------------------------------------------------------------------------------------------

#[test]
fn every_command_line_in_the_documentation_is_accepted_or_refused_as_shown() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for example in documented().iter().chain(&packaged()) {
        seen += 1;
        wrong.extend(example.judge().err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // far fewer would mean that they are not found any more
    assert!(seen > 110, "only {seen} command lines were found");
}

/// On kernel files kept for the tests: what the example shows of its own host cannot be repeated, but it has to run.
#[test]
fn every_command_line_in_the_documentation_gives_an_answer() {
    let state = crate::common::new_folder();
    let mut ran = 0;
    for example in documented().iter().chain(&packaged()) {
        let has = |option: &str| {
            example
                .arguments
                .iter()
                .any(|word| word.starts_with(option))
        };
        if example.is_refused() || has("--proc-root") || has("--table") {
            continue;
        }
        let mut arguments = example.arguments.clone();
        arguments.extend(["--proc-root".into(), "tests/cases/half-full/proc".into()]);
        if !has("--state-dir") {
            arguments.extend(["--state-dir".into(), state.path().display().to_string()]);
        }
        let output = check(&arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let answer = Answer::of(output);
        assert!(!is_refusal(&answer.text), "{example:?}: {answer:?}");
        ran += 1;
    }
    assert!(ran > 60, "only {ran} command lines were run");
}

/// True if a line refuses a command line.
fn is_refusal(line: &str) -> bool {
    let phrases = [
        " refused: ",
        " is not allowed ",
        " cannot be used with ",
        " cannot be combined with ",
        " unexpected argument",
    ];
    phrases.iter().any(|phrase| line.contains(phrase))
}

/// sudo permits nothing but the arguments of the rule, so the two lines that an operator copies have to agree.
#[test]
fn every_command_by_sudo_stands_beside_a_rule_with_the_same_arguments() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in markdown() {
        places.entry(name(&path)).or_default().push(path);
    }
    let shipped = below(&root().join("packaging"));
    places.insert("packaging".into(), shipped);
    let mut pairs = 0;
    for (place, files) in places {
        let text: String = files.iter().map(|file| read(file) + "\n").collect();
        let text = text.replace("\\\n", " ");
        let of = |key: &str| {
            let lines = text.lines().filter(|line| line.contains(key));
            let plugin = "/usr/lib/nagios/plugins/check_conntrack ";
            let arguments =
                lines.filter_map(|line| Some(line.split_once(key)?.1.split_once(plugin)?.1));
            // an example of what is refused
            let arguments = arguments.filter(|words| !words.contains("/etc/shadow"));
            arguments
                .map(|words| words.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<BTreeSet<_>>()
        };
        let (rules, commands) = (of(" NOPASSWD: "), of("sudo -n "));
        assert_eq!(rules, commands, "{place}: rules of sudo, and commands");
        for command in &commands {
            assert!(
                !command.contains('\'') && !command.contains('*'),
                "{place}: {command}"
            );
            // the directory of the agent is not root's
            let compares = [
                "lost",
                "drop",
                "growth",
                "full_in",
                "early_drop",
                "insert_failed",
            ];
            let needs_own = compares
                .iter()
                .any(|metric| command.contains(&format!("{metric}=")));
            assert!(
                !needs_own || command.contains("--state-dir "),
                "{place}: {command}"
            );
        }
        pairs += commands.len();
    }
    assert!(pairs >= 4, "only {pairs} commands by sudo were found");
}

/// A command line of this program, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    place: String,
    /// Without the program's name.
    arguments: Vec<String>,
    /// The UNKNOWN shown below it, which may be a refusal.
    shown: Option<String>,
}

impl Example {
    /// Checks the example against the parser of the binary.
    fn judge(&self) -> Result<(), String> {
        let Self {
            place,
            arguments,
            shown,
        } = self;
        let refusal = |elevation| -> Option<String> {
            let words = ["check_conntrack".to_owned()];
            let parsed = parse(words.iter().chain(arguments).map(OsString::from), elevation);
            parsed
                .err()
                .map(|why| format!("CONNTRACK is UNKNOWN: {why}"))
        };
        let mut refused = refusal(Elevation::None);
        if refused.is_none() && self.shows_a_refusal() {
            // some are refused only to a program with privileges that its caller lacks
            let elevated = [Elevation::Capabilities, Elevation::AnotherUser];
            refused = elevated.into_iter().find_map(refusal);
            refused = refused.or_else(|| Some("accepted".to_owned()));
        }
        match refused {
            Some(why) if shown.as_ref() != Some(&why) => Err(format!(
                "{place}: {arguments:?}: {why}, and shown is {shown:?}"
            )),
            _ => Ok(()),
        }
    }

    fn shows_a_refusal(&self) -> bool {
        self.shown.as_deref().is_some_and(is_refusal)
    }

    fn is_refused(&self) -> bool {
        let words = ["check_conntrack".to_owned()];
        let words = words.iter().chain(&self.arguments).map(OsString::from);
        parse(words, Elevation::None).is_err() || self.shows_a_refusal()
    }
}

fn examples(place: &str, lines: &[String], shown: Option<&str>) -> Vec<Example> {
    lines
        .iter()
        .flat_map(|line| command_lines(line))
        .map(|arguments| Example {
            place: place.to_owned(),
            arguments,
            shown: shown.map(str::to_owned),
        })
        .collect()
}

/// The examples in the Markdown files.
fn documented() -> Vec<Example> {
    markdown()
        .iter()
        .flat_map(|path| in_markdown(&name(path), &read(path)))
        .collect()
}

/// The examples in the files for monitoring hosts.
fn packaged() -> Vec<Example> {
    let files: Vec<PathBuf> = below(&root().join("packaging"))
        .into_iter()
        .filter(|path| {
            let text = |end: &OsStr| {
                ["cfg", "conf", "service", "timer", "sh"]
                    .iter()
                    .any(|known| end == *known)
            };
            let folder = path.parent().and_then(Path::file_name);
            path.extension().is_some_and(text) || folder.is_some_and(|name| name == "sudoers")
        })
        .collect();
    let texts: Vec<(String, String)> = files.iter().map(|path| (name(path), read(path))).collect();
    let commands = nagios_commands(texts.iter().map(|(_, text)| text.as_str()));
    texts
        .iter()
        .flat_map(|(name, text)| in_configuration(name, text, &commands))
        .collect()
}

/// The commands in code blocks, indented or fenced, and in inline code. In blocks marked console or text only those
/// behind a prompt, because the rest is what came out.
fn in_markdown(name: &str, text: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    let mut code_may_begin = true;
    let lines: Vec<&str> = text.lines().collect();
    let mut index = 0;
    while index < lines.len() {
        let (line, place) = (lines[index], format!("{name}:{}", index + 1));
        index += 1;
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(kind) };
            code_may_begin = true;
            continue;
        }
        let is_code = match fence {
            Some("console" | "text") => line.starts_with("$ "),
            Some(_) => true,
            // four blanks make code behind an empty line, not inside a paragraph or an item of a list
            None => line.starts_with("    ") && code_may_begin,
        };
        if fence.is_none() {
            code_may_begin = line.trim().is_empty() || is_code;
        }
        if is_code {
            let mut command = line.to_owned();
            while command.ends_with('\\') && index < lines.len() {
                command.pop();
                command.push_str(lines[index]);
                index += 1;
            }
            let shown = fence
                .and_then(|_| lines.get(index))
                .filter(|answer| answer.starts_with("CONNTRACK is UNKNOWN: "));
            found.extend(examples(&place, &[command], shown.copied()));
        } else if fence.is_none() {
            let spans = line.split('`').skip(1).step_by(2);
            let commands: Vec<String> = spans
                .filter(|span| program(span.split(' ').next().unwrap_or_default()))
                .map(str::to_owned)
                .collect();
            found.extend(examples(&place, &commands, None));
        }
    }
    found
}

/// The commands of a file for a monitoring host, those in its comments too where they stand as they are to be used.
fn in_configuration(name: &str, text: &str, commands: &BTreeMap<String, String>) -> Vec<Example> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        let line = line.trim();
        let uncommented = line.trim_start_matches(['#', ';', '/', '*']).trim_start();
        let is_comment = line.starts_with(['#', ';'])
            || line.starts_with("//")
            || line.starts_with("/*")
            || line.starts_with("* ");
        let first = uncommented.split_whitespace().next().unwrap_or_default();
        if !is_comment
            || uncommented.starts_with("command[")
            || first.contains('/') && program(first)
        {
            let line = if is_comment { uncommented } else { line };
            // without what a caller adds
            let line = line.replace(" $ARG1$", "");
            let line = (1..=9).fold(line, |line, n| line.replace(&format!("$ARG{n}$"), "80"));
            found.extend(examples(&place, &[line], None));
        }
        // a command with its arguments, in a service or in a comment
        for (name, command) in commands {
            let Some(at) = uncommented.find(&format!("{name}!")) else {
                continue;
            };
            let arguments = &uncommented[at + name.len() + 1..];
            let expanded = arguments
                .split('!')
                .enumerate()
                .fold(command.clone(), |line, (n, value)| {
                    line.replace(&format!("$ARG{}$", n + 1), value)
                });
            found.extend(examples(&place, &[expanded], None));
        }
    }
    found
}

/// The commands that Nagios definitions make, by their names.
fn nagios_commands<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut commands = BTreeMap::new();
    for text in texts {
        let mut current = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("command_name") {
                current = Some(name.trim().to_owned());
            } else if let (Some(command), Some(name)) =
                (line.strip_prefix("command_line"), &current)
            {
                commands.insert(name.clone(), command.trim().to_owned());
            }
        }
    }
    commands
}

/// The arguments of every run of this program in a line of a shell, or of a file that holds such lines.
fn command_lines(line: &str) -> Vec<Vec<String>> {
    let line = without_key(line.trim());
    let mut found = Vec::new();
    for words in simple_commands(line) {
        let mut words = words.as_slice();
        while let [first, rest @ ..] = words {
            let name = first.split('=').next().unwrap_or_default();
            let is_assignment =
                first.contains('=') && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
            if KEYWORDS.contains(&first.as_str()) || is_assignment {
                words = rest;
            } else {
                break;
            }
        }
        // a command line as one word, such as that of sh -c
        for word in words.iter().filter(|word| word.contains(' ')) {
            found.extend(command_lines(word.trim_matches(['[', ']', ',', ' '])));
        }
        let Some(at) = words.iter().position(|word| program(word)) else {
            continue;
        };
        let is_run = match words {
            [first, ..] if USES_AS_A_FILE.contains(&first.as_str()) => false,
            // an expression of Icinga 2
            _ if at > 0 && words[at - 1] == "+" => false,
            [first, ..] => at == 0 || words[at].starts_with('/') || RUNS.contains(&first.as_str()),
            [] => false,
        };
        if is_run {
            found.push(words[at + 1..].to_vec());
        }
    }
    found
}

/// Words before a command that are no command.
const KEYWORDS: [&str; 8] = ["if", "then", "else", "while", "do", "!", "time", "exec"];
/// Programs that take another program as a file.
const USES_AS_A_FILE: [&str; 12] = [
    "install",
    "setcap",
    "getcap",
    "chmod",
    "chown",
    "chgrp",
    "cp",
    "ls",
    "rm",
    "restorecon",
    "[",
    "test",
];
/// Programs that run another program.
const RUNS: [&str; 14] = [
    "sudo", "env", "timeout", "setpriv", "nsenter", "unshare", "runuser", "ip", "strace", "ssh",
    "watch", "kubectl", "docker", "podman",
];

/// True if a word is this program, and not its state directory or its file for sudo.
fn program(word: &str) -> bool {
    let Some(folder) = word.strip_suffix("check_conntrack") else {
        return false;
    };
    let other = ["/var/lib/", "sudoers/", "sudoers.d/"];
    folder.is_empty() || folder.ends_with('/') && !other.iter().any(|end| folder.ends_with(end))
}

/// The command in a line of a file that has a key, a user or a prompt in front of it.
fn without_key(line: &str) -> &str {
    if let Some((prompt, command)) = line.split_once("$ ")
        && prompt.bytes().all(|b| b.is_ascii_lowercase())
    {
        return command;
    }
    if let Some((_, command)) = line.split_once("NOPASSWD:") {
        return command;
    }
    for key in ["command[", "ExecStart="] {
        if line.starts_with(key) {
            return line
                .split_once('=')
                .unwrap()
                .1
                .trim_start_matches(['-', '+', '@', '!']);
        }
    }
    if let Some((_, command)) = line
        .strip_prefix("UserParameter=")
        .and_then(|line| line.split_once(','))
    {
        return command;
    }
    line.strip_prefix("command_line").unwrap_or(line)
}

/// A line of a shell taken apart into words, without quotes, comments and redirections.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut skip_next = false;
    let mut characters = line.chars().peekable();
    let end = |word: &mut Option<String>, commands: &mut Vec<Vec<String>>, skip_next: &mut bool| {
        if let Some(word) = word.take()
            && !std::mem::take(skip_next)
        {
            commands.last_mut().unwrap().push(word);
        }
    };
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"') | None, '\\') => {
                let escaped = characters.next().unwrap_or('\\');
                word.get_or_insert_default().push(escaped);
            }
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t') => end(&mut word, &mut commands, &mut skip_next),
            (None, '<' | '>') => {
                // 2>file: the number is none of the words
                if word
                    .as_ref()
                    .is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()))
                {
                    word = None;
                }
                end(&mut word, &mut commands, &mut skip_next);
                while characters
                    .next_if(|c| matches!(c, '<' | '>' | '&'))
                    .is_some()
                {}
                skip_next = true;
            }
            (None, ';' | '|' | '&' | '(' | ')' | '`') => {
                end(&mut word, &mut commands, &mut skip_next);
                commands.push(Vec::new());
            }
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut commands, &mut skip_next);
    commands
}

/// Tests of the extraction of command lines.
mod extraction {
    use super::*;

    fn words(line: &str) -> Vec<Vec<String>> {
        command_lines(line)
    }

    #[test]
    fn a_command_is_found_behind_whatever_stands_in_front_of_it() {
        let found = vec![vec!["-w".to_owned(), "~:80".to_owned()]];
        for line in [
            "check_conntrack -w '~:80'",
            "    check_conntrack -w '~:80' # a comment",
            "$ check_conntrack -w '~:80'; echo $?",
            "here$ check_conntrack -w ~:80 | grep hint",
            "$ sudo -n /usr/lib/nagios/plugins/check_conntrack -w ~:80 2>/dev/null",
            "$ LC_ALL=C timeout 5 check_conntrack -w \"~:80\" </dev/null",
            "sh -c 'check_conntrack -w ~:80'",
            "command[check_conntrack]=/usr/lib/nagios/plugins/check_conntrack -w '~:80'",
            "command[x]=sudo -n /usr/lib/nagios/plugins/check_conntrack -w '~:80'",
            "command_line  $USER1$/check_conntrack -w '~:80'",
            "nagios ALL=(root) NOPASSWD: /usr/lib/nagios/plugins/check_conntrack -w ~:80",
            "Conntrack (interval=300) /usr/lib/nagios/plugins/check_conntrack -w '~:80'",
            "commands = [\"/usr/lib/nagios/plugins/check_conntrack -w ~:80\"]",
            "ExecStart=-/usr/lib/nagios/plugins/check_conntrack -w ~:80",
            "if ! check_conntrack -w ~:80; then",
            "UserParameter=conntrack,/usr/lib/nagios/plugins/check_conntrack -w '~:80'; echo exit=$?",
        ] {
            assert_eq!(words(line), found, "{line}");
        }
    }

    #[test]
    fn what_is_no_run_is_not_taken_for_one() {
        for line in [
            "install -m 0750 check_conntrack /usr/lib/nagios/plugins/check_conntrack",
            "setcap cap_net_admin=p /usr/lib/nagios/plugins/check_conntrack",
            "command = [ PluginContribDir + \"/check_conntrack\" ]",
            "command_name  check_conntrack",
            "# /etc/nagios/nrpe.d/check_conntrack.cfg",
            "notes = \"Needs /var/lib/check_conntrack on the host.\"",
            "visudo -c -f /etc/sudoers.d/check_conntrack",
            "check_conntrack.sh -w 1e9",
            "$ echo check_conntrack -x",
        ] {
            assert_eq!(words(line), Vec::<Vec<String>>::new(), "{line}");
        }
    }

    #[test]
    fn markdown_gives_commands_of_code_and_not_of_text_or_output() {
        let text = "check_conntrack --prose\n\n    check_conntrack --indented \\\n      --more\n\n- item\n    \
                    check_conntrack --paragraph\n\nsee `check_conntrack --inline 1`\n\n```console\n$ check_conntrack \
                    --console\ncheck_conntrack --output\n```\n```sh\ncheck_conntrack --sh\n```\n";
        let found: Vec<String> = in_markdown("x.md", text)
            .into_iter()
            .map(|example| format!("{} {}", example.place, example.arguments.join(" ")))
            .collect();
        let expected = [
            "x.md:3 --indented --more",
            "x.md:9 --inline 1",
            "x.md:12 --console",
            "x.md:16 --sh",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_command_of_nagios_is_taken_with_the_arguments_of_its_service() {
        let text = "define command {\n command_name ours\n command_line $USER1$/check_conntrack -w '$ARG1$' $ARG2$\n}\n\
                    check_command ours!75!--top 3\n";
        let commands = nagios_commands([text].into_iter());
        let found = in_configuration("x.cfg", text, &commands);
        let lines: Vec<String> = found
            .iter()
            .map(|example| example.arguments.join(" "))
            .collect();
        assert_eq!(lines, ["-w 80 80", "-w 75 --top 3"]);
    }

    fn example(arguments: &[&str], shown: Option<&str>) -> Example {
        Example {
            place: "x.md:1".to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            shown: shown.map(str::to_owned),
        }
    }

    #[test]
    fn a_line_that_the_parser_refuses_is_an_error_unless_that_is_what_is_shown() {
        let refusal = "CONNTRACK is UNKNOWN: --proc-root is not allowed when the plugin has file capabilities or is \
                       setuid";
        assert_eq!(example(&["75", "90"], None).judge(), Ok(()));
        assert_eq!(
            example(&["--proc-root", "/proc"], Some(refusal)).judge(),
            Ok(())
        );
        for wrong in [
            example(&["--tpo"], None),
            example(&["-w", "usage=101"], None),
            example(&["-w", "80"], Some(refusal)),
            example(&["--table", "x"], Some(refusal)),
        ] {
            assert!(wrong.judge().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_refusal_is_taken_with_the_command_above_it() {
        let text =
            "```text\n$ check_conntrack -w x\nCONNTRACK is UNKNOWN: --warning x refused: no\n```\n";
        let found = in_markdown("x.md", text);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].shown.as_deref(),
            Some("CONNTRACK is UNKNOWN: --warning x refused: no")
        );
    }
}

// ---- links --------------------------------------------------------------------------------------------------------

#[test]
fn every_link_in_the_documentation_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in markdown() {
        for target in links(&read(&path)) {
            seen += 1;
            wrong.extend(broken(&path, &target));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "only {seen} links were found");
}

#[test]
fn a_link_to_nowhere_is_noticed() {
    let readme = root().join("README.md");
    for (target, leads) in [
        ("docs/internals/table.md", true),
        ("docs/internals/table.md#cost-and-limits", true),
        ("docs/internals/table.md#cost", false),
        ("docs/nowhere.md", false),
        ("#try-it", true),
        ("#try", false),
    ] {
        assert_eq!(broken(&readme, target).is_none(), leads, "{target}");
    }
    assert_eq!(
        links("a [b](c.md#d) `[no](e)` [f](https://g)\n\n    [no](h)\n"),
        ["c.md#d"]
    );
    let headings = "# A `b`: c, D-e\n```text\n# no\n```\n## Twice\n## Twice\n";
    assert_eq!(anchors(headings), ["a-b-c-d-e", "twice", "twice-1"]);
}

/// The fault of a link in that file, if it has one.
fn broken(from: &Path, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let to = if file.is_empty() {
        from.to_owned()
    } else {
        from.parent().unwrap().join(file)
    };
    let here = name(from);
    if !to.exists() {
        return Some(format!("{here}: there is no {target}"));
    }
    let found = anchor.is_empty() || anchors(&read(&to)).iter().any(|known| known == anchor);
    (!found).then(|| format!("{here}: there is no heading for {target}"))
}

/// The targets of links, those to other sites left out.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| {
            // a link in inline code is none
            let text: String = line.split('`').step_by(2).collect();
            text.split("](")
                .skip(1)
                .filter_map(|rest| rest.split_once(')'))
                .map(|(target, _)| target.to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// The anchors of headings, as hosting sites make them from the text.
fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for heading in prose(text).filter_map(|line| line.strip_prefix('#')) {
        let plain: String = heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = found
            .iter()
            .filter(|known| {
                known.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()) == plain
            })
            .count();
        found.push(if again == 0 {
            plain
        } else {
            format!("{plain}-{again}")
        });
    }
    found
}

/// The lines of a Markdown text that are not in a code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with("    ")
    })
}

// ---- the files ----------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documentation: Markdown files at the top, in docs and in packaging.
fn markdown() -> Vec<PathBuf> {
    let top = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = top
        .chain(below(&root().join("docs")))
        .chain(below(&root().join("packaging")))
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    files.sort();
    files
}

/// Every file in a folder and its folders; none where there is no such folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
