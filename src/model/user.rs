//! Users of this host: a number, and a name if /etc/passwd has one.

use std::fmt;

use crate::model::text::named;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The name in /etc/passwd, which is foreign text.
    pub name: Option<String>,
}

impl User {
    /// A user whose name is not known.
    pub fn unnamed(uid: u32) -> Self {
        Self { uid, name: None }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "user {}", named(name)),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// The names of some users, by user id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(Vec<User>);

impl Users {
    /// Notes the name of a user. The first name of a user id counts, as for getpwuid(3).
    pub fn add(&mut self, uid: u32, name: &str) {
        if let Err(place) = self.place(uid) {
            let name = Some(name.to_owned());
            self.0.insert(place, User { uid, name });
        }
    }

    fn place(&self, uid: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&uid, |user| user.uid)
    }

    /// A user with the name, if it is known.
    pub fn user(&self, uid: u32) -> User {
        let known = self.place(uid).ok().and_then(|place| self.0.get(place));
        known.cloned().unwrap_or_else(|| User::unnamed(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_or_numbered() {
        let mut users = Users::default();
        users.add(1000, "alice");
        users.add(1000, "second");
        users.add(7, "x|;$(id)");
        assert_eq!(users.user(1000).to_string(), "user alice");
        assert_eq!(users.user(7).to_string(), "user x(id)");
        assert_eq!(users.user(8).to_string(), "uid 8");
        assert_eq!(User::unnamed(9).to_string(), "uid 9");
    }
}
