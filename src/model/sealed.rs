//! The text that this program keeps for itself: a line for each fact, and a last line that is a hash of all lines before
//! it. A text that was cut short or changed is not read.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// The lines of a text, without their line breaks. Every check reads two such texts, so a line that is not looked for
/// costs no more than its first bytes.
#[derive(Debug, Clone)]
pub struct TextLines<'a> {
    rest: &'a str,
}

impl<'a> Iterator for TextLines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.bytes().position(|byte| byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line)
    }
}

impl<'a> TextLines<'a> {
    /// The next line, which stays the next one.
    pub fn peek(&self) -> Option<&'a str> {
        self.clone().next()
    }
}

/// Adds the last line to the facts, each of which ends with a line break.
pub fn seal(facts: String) -> String {
    let check = check_line(&facts);
    facts + &check
}

/// The lines of a sealed text without its last line; none if the text is not as it was sealed.
pub fn unseal(text: &str) -> Option<TextLines<'_>> {
    let end = text
        .trim_end_matches('\n')
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let (facts, check) = text.split_at_checked(end)?;
    (check == check_line(facts)).then_some(TextLines { rest: facts })
}

/// The line at the end of a text that begins with these lines.
fn check_line(facts: &str) -> String {
    // std may choose another hash one day: then an update of this check makes one first run
    let mut hasher = DefaultHasher::new();
    hasher.write(facts.as_bytes());
    format!("check {:016x}\n", hasher.finish())
}

/// Returns the rest of the next line if it is about this fact.
pub fn fact<'a>(lines: &mut TextLines<'a>, name: &str) -> Option<&'a str> {
    let rest = lines.rest.strip_prefix(name)?.strip_prefix(' ')?;
    lines.rest = rest;
    // the rest of the line is empty if the line break follows at once
    if rest.is_empty() {
        return Some(rest);
    }
    lines.next()
}

/// Reads a number as it is printed: this program does not write it in another way.
pub fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Reads a time that is written in hundredths of a second.
pub fn time(text: &str) -> Option<Duration> {
    Some(Duration::from_millis(number::<u64>(text)?.checked_mul(10)?))
}

/// The number that a time is written as.
pub fn hundredths(time: Duration) -> u128 {
    time.as_millis() / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_as_it_was_sealed_has_lines() {
        let text = seal("one 1\ntwo 2\n".to_owned());
        let lines: Vec<&str> = unseal(&text).unwrap().collect();
        assert_eq!(lines, ["one 1", "two 2"]);
        assert_eq!(unseal(&seal(String::new())).unwrap().count(), 0);
        for other in [
            "",
            "\n",
            "one 1\ntwo 2\n",
            &text.replace("two", "too"),
            &text[1..],
            &text[..text.len() - 2],
            &format!("{text}x\n"),
        ] {
            assert!(unseal(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_number_is_written_in_one_way() {
        assert_eq!(number::<u32>("4294967295"), Some(u32::MAX));
        for other in ["", "+1", "-1", " 1", "0x1", "4294967296", "1_0"] {
            assert_eq!(number::<u32>(other), None, "{other:?}");
        }
        assert_eq!(time("123"), Some(Duration::from_millis(1230)));
        assert_eq!(time(&u64::MAX.to_string()), None);
        assert_eq!(hundredths(Duration::from_millis(1239)), 123);
    }
}
