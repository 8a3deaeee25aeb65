//! The output of a run, and the check that it keeps the output contract: the oracle of every test, and of the fuzz
//! targets, which are a crate of their own.
#![allow(dead_code, unreachable_pub, clippy::indexing_slicing)] // every user uses its own part of this

use std::process::Output;

/// The output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: i32,
    pub text: String,
}

impl Answer {
    /// Takes an output apart and holds it against the output contract, which is true of every run.
    pub fn of(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).expect("ASCII");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "",
            "stderr stays empty"
        );
        let code = output.status.code().expect("ended by itself");
        let answer = Self { code, text };
        answer.keeps_the_contract();
        answer
    }

    /// Panics where the text breaks the output contract.
    pub fn keeps_the_contract(&self) {
        let Self { code, text } = self;
        assert!((0..=3).contains(code), "exit code {code}");
        assert!(text.ends_with('\n') && text.len() <= 4000, "{text}");
        assert!(
            text.bytes()
                .all(|b| b == b'\n' || (0x20..0x7f).contains(&b)),
            "printable ASCII: {text:?}"
        );
        assert!(text.matches('|').count() <= 1, "one |: {text}");
        assert!(
            !text.contains("\n\n") || text.contains("Usage:"),
            "no empty line: {text}"
        );
        let first = self.first_line();
        if let Some(state) = first.strip_prefix("CONNTRACK is ") {
            let name = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][*code as usize];
            assert!(
                state.starts_with(&format!("{name}: ")),
                "{first} with exit code {code}"
            );
            assert!(
                !first.split('|').next().unwrap_or_default().contains(';'),
                "no ; in the text: {first}"
            );
            assert!(
                !text[first.len()..].contains('|'),
                "perfdata on line 1 only: {text}"
            );
        }
        for token in self.perfdata() {
            assert_perfdata(&token);
        }
    }

    /// Panics where the lines of a check break what the contract says of them: line 1 is short and names the culprit
    /// early, the advice is short and stands first, the perfdata has a fixed order. `is_capture` is true of an answer
    /// about `--table`, which has a finding whatever the state is.
    pub fn keeps_the_contract_of_a_check(&self, is_capture: bool) {
        let line = self.first_line().split('|').next().unwrap_or_default();
        let knows_the_limit = self.value("usage").is_some() || line.contains("no limit");
        if knows_the_limit && !says_that_something_failed(self.code, line) {
            assert!(line.len() <= 300, "{} bytes: {line}", line.len());
        }
        if let Some(at) = finding(line) {
            assert!(at <= 120, "the finding begins at {at}: {line}");
        }
        for share in line.split(" hold").skip(1).filter_map(share_of_the_table) {
            assert!(share >= 10, "somebody is named with {share}%: {line}");
        }
        self.advises_in_order(is_capture);
        let labels = self.perfdata();
        let labels = labels.iter().map(|token| token.split('=').next());
        let places = labels.map(|label| {
            let label = label.unwrap_or_default();
            let place = LABELS.iter().position(|known| *known == label);
            place.unwrap_or_else(|| panic!("the label {label}: {}", self.text))
        });
        let places: Vec<usize> = places.collect();
        let in_order = places.windows(2).all(|two| two[0] < two[1]);
        assert!(in_order, "the order of labels: {}", self.text);
    }

    /// `why:`, `now:`, `fix:` and `look:` come first, each at most once and short; an OK has nothing to mend.
    fn advises_in_order(&self, is_capture: bool) {
        const ADVICE: [&str; 4] = ["why: ", "now: ", "fix: ", "look: "];
        let place = |line: &str| ADVICE.iter().position(|name| line.starts_with(name));
        let details: Vec<&str> = self.text.lines().skip(1).collect();
        let advice = details.iter().map_while(|line| place(line));
        let advice: Vec<usize> = advice.collect();
        assert!(
            advice.windows(2).all(|two| two[0] < two[1]),
            "the order of the advice: {}",
            self.text
        );
        for (index, line) in details.iter().enumerate() {
            let is_advice = place(line).is_some();
            assert_eq!(is_advice, index < advice.len(), "{}", self.text);
            assert!(!is_advice || line.len() <= 200, "{}: {line}", line.len());
        }
        let look = ADVICE.len() - 1;
        let has_more = advice.iter().any(|place| *place != look);
        assert!(self.code != 0 || is_capture || !has_more, "{}", self.text);
    }

    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The perfdata tokens of line 1.
    pub fn perfdata(&self) -> Vec<String> {
        let perfdata = self
            .first_line()
            .split_once('|')
            .map(|(_, p)| p)
            .unwrap_or_default();
        if perfdata.is_empty() {
            Vec::new()
        } else {
            perfdata.split(' ').map(str::to_owned).collect()
        }
    }

    /// The fields of one perfdata token: value with unit, warning, critical, min, max.
    pub fn value(&self, label: &str) -> Option<Vec<String>> {
        let prefix = format!("{label}=");
        let token = self
            .perfdata()
            .into_iter()
            .find(|token| token.starts_with(&prefix))?;
        Some(
            token[prefix.len()..]
                .split(';')
                .map(str::to_owned)
                .collect(),
        )
    }

    /// The lost packets that line 1 reports in words: `lost 7 packets between two checks`, `7 packets lost in the last
    /// 5m`, `no packets lost yet`. None if it says nothing of losses.
    pub fn reported_losses(&self) -> Option<u64> {
        let text = self.first_line().split('|').next().unwrap_or_default();
        let words: Vec<&str> = text
            .split([' ', ',', ':'])
            .filter(|word| !word.is_empty())
            .collect();
        let number = words.windows(3).find_map(|three| match three {
            ["lost", number, "packet" | "packets"] | [number, "packet" | "packets", "lost"] => {
                Some(*number)
            }
            _ => None,
        })?;
        match number {
            "no" => Some(0),
            number => number.parse().ok(),
        }
    }

    /// At most what an NRPE 2 packet carries.
    pub fn fits_nrpe_2(&self) -> bool {
        self.text.len() <= 1023
    }
}

/// Every label of the perfdata, in the order of the contract.
const LABELS: [&str; 28] = [
    "usage",
    "entries",
    "chain",
    "drop",
    "chaintoolong",
    "early_drop",
    "insert_failed",
    "lost",
    "growth",
    "full_in",
    "endpoint",
    "unreplied",
    "evictable",
    "established",
    "time_wait",
    "syn_sent",
    "syn_recv",
    "fin_wait",
    "close_wait",
    "last_ack",
    "close",
    "udp",
    "icmp",
    "other",
    "namespaces",
    "peak",
    "ports",
    "expect",
];

/// True if line 1 has to say that something could not be read or measured, which takes more room.
fn says_that_something_failed(code: i32, line: &str) -> bool {
    let failures = [
        "not measured",
        "cannot",
        "could not",
        "timed out",
        "not used",
        "incomplete",
    ];
    code == 3 || failures.iter().any(|words| line.contains(words))
}

/// The place where the finding of line 1 begins: the group that says how much of the table it is about.
fn finding(line: &str) -> Option<usize> {
    let end = line
        .find(" of the entries")
        .or_else(|| line.find(" of the table"))?;
    Some(line[..end].rfind(" - ").map_or(0, |at| at + " - ".len()))
}

/// `s 90% of the entries`, `90% of the entries`: the share, if it is one of the table.
fn share_of_the_table(rest: &str) -> Option<u64> {
    let rest = rest.strip_prefix('s').unwrap_or(rest).trim_start();
    let (number, of) = rest.split_once('%')?;
    of.starts_with(" of the entries")
        .then(|| number.parse().ok())?
}

/// `label=value[unit][;warn[;crit[;min[;max]]]]`, as the contract narrows it.
fn assert_perfdata(token: &str) {
    let (label, fields) = token
        .split_once('=')
        .unwrap_or_else(|| panic!("no = in {token:?}"));
    assert!(
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
        "label {label:?}"
    );
    let fields: Vec<&str> = fields.split(';').collect();
    assert!(
        fields.len() <= 5 && fields.last() != Some(&""),
        "fields of {token:?}"
    );
    let number = fields[0].trim_end_matches(['%', 'c', 's']);
    assert!(
        number.parse::<f64>().is_ok() && !number.contains(['e', 'E', 'n', 'i']),
        "value of {token:?}"
    );
}
