//! Makes foreign text (file names, arguments, error texts) safe to stand in a plugin's output.
//!
//! Whatever did not come from this program may hold anything: Icinga 2 takes a `|` on any line for the start of
//! perfdata, Nagios rewrites `;`, deletes shell characters in notification commands, and shows the text in a browser
//! and in terminals. So the few characters with a meaning to any of them go, and the length is bounded.

/// Foreign text is cut at this many characters.
pub const FOREIGN_MAX: usize = 64;

/// The mark of a cut.
const CUT: &str = "..";

/// Characters that mean something to a plugin host, a shell or a browser.
const REMOVED: &str = "|;<>&$'\"~`";

/// The characters of `text` that may be shown; what is not ASCII becomes a question mark.
fn safe(text: &str) -> impl DoubleEndedIterator<Item = char> + '_ {
    text.chars()
        .filter(|c| !c.is_control() && !REMOVED.contains(*c))
        .map(|c| if c.is_ascii() { c } else { '?' })
}

/// Cleans foreign text and keeps its beginning.
pub fn clean(text: &str) -> String {
    safe(text).take(FOREIGN_MAX).collect()
}

/// An argument as it was typed, for its refusal: a character that [`clean`] would remove or replace is shown by an
/// escape, so that the reader sees why the argument was refused. So is a blank that would be lost between words.
pub fn typed(text: &str) -> String {
    typed_but(text, None)
}

/// Like [`typed`], but the character at the byte `own` is printed as it is: one that this program would write there.
pub fn typed_but(text: &str, own: Option<usize>) -> String {
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let mut shown = String::new();
    let mut fits = 0;
    let mut chars = text.char_indices().peekable();
    let mut after_blank = true;
    while let Some((index, c)) = chars.next() {
        let blank_is_lost = after_blank || chars.peek().is_none();
        after_blank = c == ' ';
        match c {
            c if own == Some(index) => shown.push(c),
            ' ' if blank_is_lost => shown.push_str("\\x20"),
            '\\' | '\n' | '\t' | '\r' => shown.extend(c.escape_default()),
            c if c.is_control() && c.is_ascii() || REMOVED.contains(c) => {
                shown.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if !c.is_ascii() => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        if shown.len() + CUT.len() <= FOREIGN_MAX {
            fits = shown.len();
        }
    }
    if shown.len() > FOREIGN_MAX {
        shown.truncate(fits);
        shown.push_str(CUT);
    }
    shown
}

/// Cleans a path and keeps its end, where the name of the file stands; a cut is marked by two dots.
pub fn clean_path(path: &str) -> String {
    let cleaned: String = safe(path).collect();
    let excess = cleaned.len().saturating_sub(FOREIGN_MAX);
    if excess == 0 {
        return cleaned;
    }
    // all ASCII by now, so bytes are characters
    let tail = cleaned.get(excess + CUT.len()..).unwrap_or_default();
    format!("{CUT}{tail}")
}

/// Cleans a sentence that was read from a file, and keeps its beginning: words with one blank between them.
pub fn clean_sentence(text: &str, max: usize) -> String {
    words_without(text, REMOVED, max)
}

/// Cleans a line of advice that was read from a file, and keeps its beginning. A semicolon may stand in a command.
pub fn clean_command(text: &str, max: usize) -> String {
    words_without(text, &REMOVED.replace(';', ""), max)
}

/// The words of a text in printable ASCII, without these characters.
fn words_without(text: &str, removed: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let kept = word.chars().filter(|c| !removed.contains(*c));
        let mut kept = kept.map(|c| if c.is_ascii() { c } else { '?' }).peekable();
        if !line.is_empty() && kept.peek().is_some() {
            line.push(' ');
        }
        line.extend(kept);
    }
    line.truncate(max);
    line.truncate(line.trim_end().len());
    line
}

/// Reduces a text of our own making, which may quote foreign text, to the one line an answer consists of: printable
/// ASCII without `|` and `;`, at most `max` bytes.
pub fn one_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(without_controls(word).filter(|c| *c != ';'));
    }
    line.truncate(max);
    line
}

/// Removes from a line of a longer text, such as the help, what no line of the output may have: control characters and
/// `|`. Keeps its blanks.
pub fn printable(line: &str) -> String {
    without_controls(line).collect()
}

/// Printable ASCII without `|`; any other character becomes a question mark.
fn without_controls(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars()
        .filter(|c| !c.is_control() && *c != '|')
        .map(|c| if c.is_ascii() { c } else { '?' })
}

/// A time in seconds as people say it, in one unit, the rest cut off.
pub fn duration(seconds: u64) -> String {
    let (number, unit) = in_one_unit(seconds);
    format!("{number}{unit}")
}

/// The same, to the nearest whole unit.
pub fn duration_nearest(seconds: u64) -> String {
    let half = match in_one_unit(seconds).1 {
        "s" => 0,
        "m" => 30,
        "h" => 1800,
        _ => 43_200,
    };
    duration(seconds + half)
}

/// Two of a unit are told in the smaller one.
fn in_one_unit(seconds: u64) -> (u64, &'static str) {
    match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "m"),
        7_200..172_800 => (seconds / 3600, "h"),
        172_800.. => (seconds / 86_400, "d"),
    }
}

/// A process may call itself nothing, or by characters that all have to go.
pub fn named(text: &str) -> String {
    let name = clean(text);
    if name.trim().is_empty() {
        "(unnamed)".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hostile_name_loses_what_a_host_would_interpret() {
        assert_eq!(
            clean("x|evil=1;rm -rf\n\u{1b}[31m`$(id)`"),
            "xevil=1rm -rf[31m(id)"
        );
    }

    #[test]
    fn what_was_typed_is_shown_and_interpreted_by_nothing() {
        for (text, shown) in [
            ("", "(empty)"),
            ("12x", "12x"),
            ("80|rm", r"80\x7crm"),
            ("~:80", r"\x7e:80"),
            ("\u{663}5", r"\u{663}5"),
            ("a b", "a b"),
            (" 5", r"\x205"),
            ("5 ", r"5\x20"),
            ("a  b", r"a \x20b"),
            (" ", r"\x20"),
            ("a\tb\nc\u{1b}[31m\u{7f}", r"a\tb\nc\x1b[31m\x7f"),
            (r"a\x7c", r"a\\x7c"),
            ("x<y>&'z'`$\"", r"x\x3cy\x3e\x26\x27z\x27\x60\x24\x22"),
        ] {
            assert_eq!(typed(text), shown, "{text:?}");
        }
        assert_eq!(typed_but("free=~5~", Some(5)), r"free=~5\x7e");
        let long = format!("{}|", "8".repeat(61));
        assert_eq!(typed(&long).len(), 61 + 2, "no part of an escape is left");
        assert_eq!(typed(&"8".repeat(64)), "8".repeat(64));
        assert_eq!(typed(&"8".repeat(65)), "8".repeat(62) + "..");
    }

    #[test]
    fn a_time_is_told_in_one_unit() {
        for (seconds, cut, nearest) in [
            (0, "0s", "0s"),
            (119, "119s", "119s"),
            (120, "2m", "2m"),
            (299, "4m", "5m"),
            (7199, "119m", "2h"),
            (7200, "2h", "2h"),
            (172_799, "47h", "2d"),
            (604_800, "7d", "7d"),
        ] {
            assert_eq!(duration(seconds), cut);
            assert_eq!(duration_nearest(seconds), nearest);
        }
    }

    #[test]
    fn a_command_keeps_its_semicolons() {
        let command = "nft add table ip lim \\; add chain  ip lim p; id | `x` $(y)";
        assert_eq!(
            clean_command(command, 200),
            "nft add table ip lim \\; add chain ip lim p; id x (y)"
        );
        assert_eq!(clean_command(command, 20), "nft add table ip lim");
        assert_eq!(clean_sentence("a; b | c\td", 200), "a b c d");
    }

    #[test]
    fn text_that_is_not_ascii_becomes_question_marks() {
        assert_eq!(clean("caf\u{e9} \u{663}"), "caf? ?");
    }

    #[test]
    fn a_long_path_keeps_the_name_of_the_file() {
        let path = format!("/{}/sys/net/netfilter/nf_conntrack_count", "d".repeat(100));
        let shown = clean_path(&path);
        assert_eq!(shown.len(), FOREIGN_MAX);
        assert!(shown.starts_with("..d"), "{shown}");
        assert!(shown.ends_with("/sys/net/netfilter/nf_conntrack_count"));
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_short_printable_and_harmless(text in ".*") {
            for shown in [clean(&text), clean_path(&text), typed(&text)] {
                prop_assert!(shown.len() <= FOREIGN_MAX);
                prop_assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)));
                prop_assert!(!shown.contains(['|', ';', '<', '>', '&', '$', '\'', '"', '~', '`']));
            }
            let line = printable(&text);
            prop_assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)) && !line.contains('|'));
            let sentence = clean_sentence(&text, 100);
            prop_assert!(sentence.len() <= 100 && sentence.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert!(!sentence.contains(['|', ';', '<', '>', '&', '$', '\'', '"', '~', '`']));
            prop_assert_eq!(clean_sentence(&sentence, 100), sentence);
            let line = one_line(&text, 100);
            prop_assert!(line.len() <= 100 && line.bytes().all(|b| (0x20..0x7f).contains(&b)) && !line.contains(['|', ';']));
        }
    }
}
