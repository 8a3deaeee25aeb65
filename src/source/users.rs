//! Names of users from /etc/passwd (passwd(5)).
//!
//! Other sources of names (nsswitch.conf(5)) may ask a server, and the network is what may be broken.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::file;
use crate::model::user::Users;

/// The file with the names.
pub const PASSWD: &str = "/etc/passwd";

/// A hundred thousand users.
const LONGEST: u64 = 8 << 20;

/// Reads the names of these users, whose ids are in order. Users stay without a name if the file cannot be read.
pub fn users(passwd: &Path, wanted: &[u32]) -> Users {
    let mut users = Users::default();
    if wanted.is_empty() {
        return users;
    }
    let Ok(file) = file::open(passwd) else {
        return users;
    };
    for line in BufReader::new(file.take(LONGEST)).split(b'\n') {
        let Ok(line) = line else { break };
        if let Some((name, uid)) =
            parse_line(&line).filter(|(_, uid)| wanted.binary_search(uid).is_ok())
        {
            users.add(uid, &String::from_utf8_lossy(name));
        }
    }
    users
}

/// The name and the user id in a line; none in a comment, or in a line that refers to other sources (`+nis`).
fn parse_line(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next()?;
    let uid = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    let is_name = !name.is_empty() && !name.starts_with(b"#") && !name.starts_with(b"+");
    is_name.then_some((name, uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_users_have_names_and_the_first_name_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/bash\n#alice:x:1000:0::/:\nalice:x:1000:1000::/home/alice:/bin/sh\n\
                      second:x:1000:0::/:\nbob:x:1001:0::/:\n+nis:x:1002:0::/:\n:x:1003:0::/:\nshort:x\nminus:x:-1:0::/:\n\
                      \u{e9}ve:x:1004:0::/:";
        std::fs::write(file.path(), passwd).unwrap();
        let users = users(file.path(), &[0, 7, 1000, 1002, 1003, 1004]);
        let shown = [0, 1000, 1001, 1002, 1003, 1004, 7].map(|uid| users.user(uid).to_string());
        let expected = [
            "user root",
            "user alice",
            "uid 1001",
            "uid 1002",
            "uid 1003",
            "user ?ve",
            "uid 7",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_a_file_users_have_no_names() {
        let users = users(Path::new("/nonexistent"), &[0]);
        assert_eq!(users, Users::default());
    }
}
