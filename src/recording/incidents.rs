//! Incidents: the time in which the table is nearly full or packets are lost, and the text that is kept about it.

use std::time::Duration;

use super::{Incident, Sample};

/// A table that is at least this full is an incident. Percent.
const NEARLY_FULL: u64 = 90;
/// An incident is over after so long without a reason for it.
const QUIET: Duration = Duration::from_secs(60);
/// A text is never longer, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// The incident that lasts, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    current: Option<Current>,
    has_news: bool,
}

/// An incident while it lasts.
#[derive(Debug, Clone)]
struct Current {
    began: Duration,
    until: Duration,
    utc: Duration,
    /// Its first moment.
    first: Option<Described>,
    /// Its worst moment, if that is a later one, or a later look into the table if none was due at the first moment.
    later: Option<Described>,
}

/// A moment of an incident and the text about it.
#[derive(Debug, Clone)]
struct Described {
    sample: Sample,
    with_table: bool,
    text: String,
}

impl Watch {
    /// Notes a sample and its time of day. Returns true if an incident lasts.
    pub fn see(&mut self, sample: &Sample, utc: Duration) -> bool {
        let is_one = sample.is_at_least(NEARLY_FULL) || sample.lost() > 0;
        let over = |current: &Current| sample.at.saturating_sub(current.until) > QUIET;
        if self.current.as_ref().is_some_and(over) {
            self.current = None;
        }
        match &mut self.current {
            Some(current) if is_one => current.until = sample.at,
            None if is_one => {
                self.current = Some(Current {
                    began: sample.at,
                    until: sample.at,
                    utc,
                    first: None,
                    later: None,
                });
            }
            _ => {}
        }
        self.current.is_some()
    }

    /// True if a text of this moment is wanted: of the first one, of one that is worse than all before, and of a look into
    /// the table if the first text had to do without.
    pub fn wants_text(&self, sample: &Sample, with_table: bool) -> bool {
        let Some(current) = &self.current else {
            return false;
        };
        match (&current.first, &current.later) {
            (None, _) => true,
            (Some(first), None) if !first.with_table => with_table,
            (Some(before), None) | (_, Some(before)) => {
                with_table && sample.is_fuller_than(&before.sample)
            }
        }
    }

    /// Takes the text of a moment for which [`Self::wants_text`] is true.
    pub fn add(&mut self, sample: &Sample, with_table: bool, text: String) {
        self.has_news = true;
        if let Some(current) = &mut self.current {
            let described = Some(Described {
                sample: *sample,
                with_table,
                text,
            });
            if current.first.is_none() {
                current.first = described;
            } else {
                current.later = described;
            }
        }
    }

    /// True while an incident lasts.
    pub fn is_incident(&self) -> bool {
        self.current.is_some()
    }

    /// The name without its ending and the content of the file about the incident; none before there is a text.
    pub fn file(&self) -> Option<(String, String)> {
        let current = self.current.as_ref()?;
        let first = current.first.as_ref()?;
        let began = date_and_time(current.utc);
        let mut text = format!(
            "Incident of the connection tracking table, written by check_conntrack --record.\n\n\
             First moment, {began}:\n\n{}",
            first.text
        );
        if let Some(later) = &current.later {
            let is_worse = later.sample.is_fuller_than(&first.sample);
            let moment = if is_worse {
                "Worst moment"
            } else {
                "First look into the table"
            };
            let after = later.sample.at.saturating_sub(current.began);
            let utc = date_and_time(current.utc + after);
            text.push_str(&format!("\n{moment}, {utc}:\n\n{}", later.text));
        }
        text.truncate(MAX_BYTES);
        Some((compact(current.utc), text))
    }

    /// True if a text was added since this was asked last.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// The incident as the recording has it.
    pub fn incident(&self, path: &str) -> Option<Incident> {
        let current = self.current.as_ref()?;
        Some(Incident {
            began: current.began,
            until: current.until,
            path: path.to_owned(),
        })
    }
}

/// True if a name is that of a file about an incident.
pub fn is_incident(name: &str) -> bool {
    let Some(time) = name.strip_suffix(".txt") else {
        return false;
    };
    // the network namespace stands behind the time
    let (time, namespace) = time.split_once('-').unwrap_or((time, ""));
    let is_digit = |place| matches!(time.as_bytes().get(place), Some(b'0'..=b'9'));
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    time.len() == 16
        && namespace.chars().all(is_plain)
        && (0..15).all(|place| place == 8 || is_digit(place))
        && time.get(8..9) == Some("T")
        && time.ends_with('Z')
}

/// `2026-11-28 02:58:30 UTC`.
fn date_and_time(utc: Duration) -> String {
    let [year, month, day, hour, minute, second] = parts(utc);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `20261128T025830Z`.
fn compact(utc: Duration) -> String {
    let [year, month, day, hour, minute, second] = parts(utc);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month, day, hour, minute and second of a time since 1970 (days to civil, Hinnant).
fn parts(utc: Duration) -> [u64; 6] {
    let seconds = utc.as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // months from March on
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    [
        year,
        month,
        day,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{sample, seconds};
    use super::*;

    const UTC: u64 = 1_795_835_560;

    #[test]
    fn a_date_is_that_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_795_835_560, "2026-11-28 03:12:40 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date_and_time(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(compact(seconds(UTC)), "20261128T031240Z");
        assert!(is_incident("20261128T031240Z.txt"));
        for other in [
            "",
            ".txt",
            "20261128T031240Z",
            "20261128X031240Z.txt",
            "notes20261128Z.txt",
        ] {
            assert!(!is_incident(other), "{other}");
        }
    }

    /// The watch of an incident that begins at 950 of 1000 entries, with or without a look into the table.
    fn incident(with_table: bool) -> Watch {
        let mut watch = Watch::default();
        assert!(!watch.see(&sample(10, 899), seconds(UTC)));
        assert!(watch.file().is_none());
        assert!(watch.see(&sample(20, 950), seconds(UTC)));
        assert!(watch.wants_text(&sample(20, 950), with_table));
        watch.add(&sample(20, 950), with_table, "first text\n".to_owned());
        watch
    }

    #[test]
    fn an_incident_has_its_first_and_its_worst_moment() {
        let mut watch = incident(true);
        assert!(!watch.wants_text(&sample(25, 950), true));
        assert!(watch.see(&sample(30, 1000), seconds(UTC + 10)));
        assert!(!watch.wants_text(&sample(30, 1000), false));
        assert!(watch.wants_text(&sample(30, 1000), true));
        watch.add(&sample(30, 1000), true, "worst text\n".to_owned());
        assert!(watch.see(&sample(40, 960), seconds(UTC + 20)));
        assert!(!watch.wants_text(&sample(40, 960), true));
        let (name, text) = watch.file().unwrap();
        assert_eq!(name, "20261128T031240Z");
        assert!(text.contains("First moment, 2026-11-28 03:12:40 UTC:\n\nfirst text\n"));
        assert!(text.ends_with("Worst moment, 2026-11-28 03:12:50 UTC:\n\nworst text\n"));
        let incident = watch.incident("x").unwrap();
        assert_eq!((incident.began, incident.until), (seconds(20), seconds(40)));
    }

    #[test]
    fn a_first_moment_without_the_table_is_followed_by_the_first_look_and_then_by_the_worst() {
        let mut watch = incident(false);
        assert!(watch.see(&sample(30, 910), seconds(UTC + 10)));
        assert!(watch.wants_text(&sample(30, 910), true));
        watch.add(&sample(30, 910), true, "with names\n".to_owned());
        let (_, text) = watch.file().unwrap();
        assert!(
            text.ends_with("\nFirst look into the table, 2026-11-28 03:12:50 UTC:\n\nwith names\n"),
            "{text}"
        );
        assert!(!watch.wants_text(&sample(40, 910), true));
        assert!(watch.see(&sample(40, 990), seconds(UTC + 20)));
        assert!(watch.wants_text(&sample(40, 990), true));
        watch.add(&sample(40, 990), true, "worse\n".to_owned());
        let (_, text) = watch.file().unwrap();
        assert!(
            text.ends_with("first text\n\nWorst moment, 2026-11-28 03:13:00 UTC:\n\nworse\n"),
            "{text}"
        );
    }

    #[test]
    fn a_minute_of_quiet_ends_an_incident() {
        let mut watch = Watch::default();
        let lost = Sample {
            increases: Some([0, 1, 0, 0]),
            ..sample(20, 10)
        };
        assert!(watch.see(&lost, seconds(UTC)));
        assert!(watch.see(&sample(80, 10), seconds(UTC + 60)));
        assert!(!watch.see(&sample(81, 10), seconds(UTC + 61)));
        assert!(watch.see(&sample(90, 950), seconds(UTC + 70)));
        assert_eq!(watch.incident("x").unwrap().began, seconds(90));
    }
}
