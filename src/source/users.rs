//! Names of users, from /etc/passwd alone (passwd(5)): a name service may wait for a network that drops connections.

use std::collections::BTreeMap;
use std::path::Path;

use crate::source::file;

const FILE: &str = "/etc/passwd";
/// A host with some ten thousand local users.
const LONGEST: usize = 1 << 20;

/// The names of these users, as far as the file has them; the first line of a uid counts.
pub fn names(uids: &[u32]) -> BTreeMap<u32, String> {
    let bytes = file::read(Path::new(FILE), LONGEST).unwrap_or_default();
    parse(&String::from_utf8_lossy(&bytes), uids)
}

/// `name:password:uid:gid:...`
fn parse(text: &str, uids: &[u32]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let uid = uid.parse().ok().filter(|uid| uids.contains(uid));
        if let (Some(uid), false) = (uid, name.is_empty()) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_has_the_first_name_that_the_file_gives_it() {
        let text = "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n\
                    :x:34:34::/:\nbroken:x\nbig:x:4294967296:1::/:\n";
        let names = parse(text, &[0, 33, 34, 1000]);
        let found: Vec<(u32, &str)> = names
            .iter()
            .map(|(uid, name)| (*uid, name.as_str()))
            .collect();
        assert_eq!(found, [(0, "root"), (33, "www-data")]);
        assert!(parse("", &[0]).is_empty());
    }
}
