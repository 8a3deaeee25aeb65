//! The text that this program keeps for itself: a line for each fact, and a last line that is a hash of all lines before
//! it. A text that was cut short or changed is not read.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// The lines of a text, without their line breaks.
pub type TextLines<'a> = std::iter::Peekable<std::str::SplitTerminator<'a, char>>;

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
    (check == check_line(facts)).then(|| facts.split_terminator('\n').peekable())
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
    let next = lines.next_if(|line| line.split_once(' ').is_some_and(|(fact, _)| fact == name))?;
    next.split_once(' ').map(|(_, rest)| rest)
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
