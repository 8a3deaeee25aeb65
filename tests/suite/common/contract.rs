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
