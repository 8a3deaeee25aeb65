//! The identity of this boot, and the time since it: sys/kernel/random/boot_id and uptime.

use std::path::Path;
use std::time::Duration;

use crate::model::error::NoState;
use crate::source::file;

/// A UUID, or two numbers and a line break.
const MAX_BYTES: usize = 64;

/// Reads the UUID that the kernel draws at each boot.
///
/// # Errors
/// [`NoState::NoIdentity`].
pub fn boot_id(proc_root: &Path) -> Result<String, NoState> {
    let path = proc_root.join("sys/kernel/random/boot_id");
    let id = || {
        let bytes = file::read(&path, MAX_BYTES).ok()?;
        let id = std::str::from_utf8(&bytes).ok()?.trim();
        let is_id = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        is_id.then(|| id.to_owned())
    };
    id().ok_or_else(|| no_identity(&path))
}

/// Reads the time since the host was started, to a hundredth of a second (proc_uptime(5)).
///
/// # Errors
/// [`NoState::NoIdentity`].
pub fn uptime(proc_root: &Path) -> Result<Duration, NoState> {
    let path = proc_root.join("uptime");
    let uptime = || {
        let bytes = file::read(&path, MAX_BYTES).ok()?;
        parse_uptime(std::str::from_utf8(&bytes).ok()?)
    };
    uptime().ok_or_else(|| no_identity(&path))
}

fn no_identity(path: &Path) -> NoState {
    NoState::NoIdentity {
        path: file::shown(path),
    }
}

/// Parses `SECONDS.HUNDREDTHS` and ignores the idle time after it.
fn parse_uptime(text: &str) -> Option<Duration> {
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if hundredths.len() != 2 || !digits(seconds) || !digits(hundredths) {
        return None;
    }
    let hundredths = seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(hundredths.parse().ok()?)?;
    Some(Duration::from_millis(hundredths.checked_mul(10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_has_seconds_and_two_digits_after_the_point() {
        let parsed = |text| parse_uptime(text);
        assert_eq!(
            parsed("350735.47 234388.90\n"),
            Some(Duration::from_millis(350_735_470))
        );
        assert_eq!(parsed("0.00 0.00\n"), Some(Duration::ZERO));
        for odd in [
            "",
            "12",
            "12.5 1",
            "-1.00 1",
            "1.000 1",
            "+1.00",
            "99999999999999999999.00",
        ] {
            assert_eq!(parsed(odd), None, "{odd:?}");
        }
    }
}
