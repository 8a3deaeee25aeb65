//! The byte budgets of a report.

/// The length that passes everywhere, the newline included.
pub(super) const MAX_BYTES: usize = 1023;
/// The length that passes if details were asked for (`-v`, `-h`).
pub(super) const MAX_BYTES_VERBOSE: usize = 4000;
/// A detail line is no longer.
pub(super) const MAX_LINE: usize = 400;

/// Line 1 has at most this many bytes before its perfdata if nothing failed.
pub(super) const LINE_1: usize = 300;

/// As many phrases as fit, each with a comma before it, and the number of the others: `2 more in range`.
pub(super) fn fitted(mut phrases: Vec<String>, room: usize, what: &str) -> Vec<String> {
    const COMMA: usize = 2;
    let all = phrases.len();
    let mut length: usize = phrases.iter().map(|phrase| phrase.len() + COMMA).sum();
    let mut left_out = String::new();
    while length + left_out.len() > room {
        let Some(last) = phrases.pop() else { break };
        length -= last.len() + COMMA;
        left_out = format!("{} more {what}", all - phrases.len());
    }
    if !left_out.is_empty() {
        phrases.push(left_out);
    }
    phrases
}

/// The lines that fit, whole, and a line that counts the others.
pub(super) fn assemble(first: String, details: Vec<String>, max: usize) -> String {
    let more = |n: usize| {
        let lines = if n == 1 { "line" } else { "lines" };
        if max == MAX_BYTES {
            format!("{n} more {lines} with -v\n")
        } else {
            format!("{n} more {lines} not shown\n")
        }
    };
    let total = details.len();
    let mut text = first + "\n";
    for (shown, line) in details.into_iter().enumerate() {
        let left = total - shown;
        let reserve = if left > 1 { more(left - 1).len() } else { 0 };
        if text.len() + line.len() + 1 + reserve > max {
            if text.len() + more(left).len() <= max {
                text.push_str(&more(left));
            }
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_whole_at_exactly_the_length_that_passes_everywhere() {
        let advice = || ["why: ", "now: ", "fix: ", "look: "].map(|name| format!("{name:x<99}"));
        let report = |first: usize, endpoints: usize| {
            let mut lines = advice().to_vec();
            lines.extend(vec![
                "1. to 192.0.2.1:80/tcp: 900 entries".to_owned();
                endpoints
            ]);
            assemble("y".repeat(first), lines, MAX_BYTES)
        };
        // 4 lines of 100 bytes, and the line feed of line 1
        let whole = report(MAX_BYTES - 401, 0);
        assert_eq!(whole.len(), MAX_BYTES);
        assert!(whole.contains("\nlook: "), "{whole}");
        let cut = report(MAX_BYTES - 400, 0);
        assert!(
            cut.contains("\nfix: ") && !cut.contains("\nlook: "),
            "{cut}"
        );
        assert!(cut.ends_with("\n1 more line with -v\n"), "{cut}");
        // endpoints go before any advice goes
        let listed = report(MAX_BYTES - 401 - "3 more lines with -v\n".len(), 3);
        assert_eq!(listed.len(), MAX_BYTES);
        assert!(listed.contains("\nlook: "), "{listed}");
        assert!(listed.ends_with("\n3 more lines with -v\n"), "{listed}");
    }

    #[test]
    fn advice_is_left_out_from_its_end_and_why_and_now_stay_longest() {
        let advice = || ["why: ", "now: ", "fix: ", "look: "].map(|name| format!("{name:x<99}"));
        let mark = |left: usize| match left {
            0 => String::new(),
            1 => "1 more line with -v\n".to_owned(),
            n => format!("{n} more lines with -v\n"),
        };
        for shown in 0..=4 {
            let left = 4 - shown;
            // so many lines, and what counts the others, end at the last byte that passes
            let first = MAX_BYTES - 1 - 100 * shown - mark(left).len();
            let text = |first| assemble("y".repeat(first), advice().to_vec(), MAX_BYTES);
            let lines = |text: &str| text.lines().filter(|line| line.ends_with('x')).count();
            assert_eq!(text(first).len(), MAX_BYTES, "{shown}");
            assert_eq!(lines(&text(first)), shown);
            assert!(text(first).ends_with(&mark(left)));
            // one byte more, and the last of them goes
            let cut = text(first + 1);
            assert_eq!(lines(&cut), shown.saturating_sub(1), "{cut}");
            assert!(shown < 1 || cut.ends_with(&mark(left + 1)), "{cut}");
            let names = cut.lines().skip(1).map_while(|line| line.split_once(": "));
            assert!(
                names.map(|(name, _)| name).eq(["why", "now", "fix", "look"]
                    .into_iter()
                    .take(shown.saturating_sub(1)))
            );
        }
    }

    #[test]
    fn phrases_without_room_are_counted() {
        let phrases = |n: usize| vec!["twelve bytes".to_owned(); n];
        let fit = |n, room| fitted(phrases(n), room, "in range");
        assert_eq!(fit(2, 28), phrases(2));
        assert_eq!(fit(3, 34), ["twelve bytes", "2 more in range"]);
        assert_eq!(fit(3, 20), ["3 more in range"]);
        assert_eq!(fit(0, 0), Vec::<String>::new());
    }

    #[test]
    fn lines_that_do_not_fit_are_counted() {
        let lines = |n: usize| vec!["x".repeat(99); n];
        assert_eq!(assemble("y".to_owned(), lines(2), MAX_BYTES).len(), 202);
        let text = assemble("y".to_owned(), lines(20), MAX_BYTES);
        assert!(text.ends_with("x\n11 more lines with -v\n"), "{text}");
        assert!(text.len() <= MAX_BYTES);
        let text = assemble("y".repeat(900), lines(1), 999);
        assert!(text.ends_with("y\n1 more line not shown\n"), "{text}");
        assert_eq!(assemble("y".repeat(990), lines(1), 999).len(), 991);
    }
}
