//! The sockets whose holders are looked for.

/// A socket whose holder is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct WantedSocket {
    inode: u64,
    uid: u32,
    is_held: bool,
}

/// The sockets of a user.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// The sockets that are looked for.
    pub(super) all: usize,
    /// The sockets of which no holder was found yet.
    pub(super) missing: usize,
}

/// Sockets by inode and by user.
#[derive(Debug, Default)]
pub(super) struct WantedSockets {
    /// By inode.
    sockets: Vec<WantedSocket>,
    missing: usize,
    /// By user id.
    users: Vec<(u32, Count)>,
}

impl WantedSockets {
    /// Takes sockets as inode and user id. Sockets without an inode have no holder.
    pub(super) fn new(mut sockets: Vec<(u64, u32)>) -> Self {
        sockets.retain(|(inode, _)| *inode != 0);
        sockets.sort_unstable();
        sockets.dedup_by_key(|(inode, _)| *inode);
        let sockets: Vec<WantedSocket> = sockets
            .into_iter()
            .map(|(inode, uid)| WantedSocket {
                inode,
                uid,
                is_held: false,
            })
            .collect();
        let mut wanted = Self {
            missing: sockets.len(),
            sockets: Vec::new(),
            users: Vec::new(),
        };
        for socket in &sockets {
            let place = wanted.user(socket.uid).unwrap_or_else(|place| {
                wanted.users.insert(place, (socket.uid, Count::default()));
                place
            });
            if let Some((_, count)) = wanted.users.get_mut(place) {
                count.all += 1;
                count.missing += 1;
            }
        }
        wanted.sockets = sockets;
        wanted
    }

    fn user(&self, uid: u32) -> Result<usize, usize> {
        self.users.binary_search_by_key(&uid, |(user, _)| *user)
    }

    fn count_mut(&mut self, uid: u32) -> Option<&mut Count> {
        let place = self.user(uid).ok()?;
        self.users.get_mut(place).map(|(_, count)| count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    pub(super) fn contains(&self, inode: u64) -> bool {
        self.place(inode).is_some()
    }

    fn place(&self, inode: u64) -> Option<usize> {
        let by_inode = |socket: &WantedSocket| socket.inode.cmp(&inode);
        self.sockets.binary_search_by(by_inode).ok()
    }

    pub(super) fn is_held(&self, inode: u64) -> bool {
        let socket = self.place(inode).and_then(|place| self.sockets.get(place));
        socket.is_some_and(|socket| socket.is_held)
    }

    /// Notes that a holder of a socket was found.
    pub(super) fn hold(&mut self, inode: u64) {
        let socket = self
            .place(inode)
            .and_then(|place| self.sockets.get_mut(place));
        if let Some(socket) = socket.filter(|socket| !socket.is_held) {
            socket.is_held = true;
            let uid = socket.uid;
            self.missing -= 1;
            if let Some(count) = self.count_mut(uid) {
                count.missing -= 1;
            }
        }
    }

    /// Forgets the missing sockets that are not among `open`, which is in order; returns their inodes.
    pub(super) fn close_all_but(&mut self, open: &[u64]) -> Vec<u64> {
        let mut closed = Vec::new();
        self.sockets.retain(|socket| {
            let is_closed = !socket.is_held && open.binary_search(&socket.inode).is_err();
            if is_closed {
                closed.push((socket.inode, socket.uid));
            }
            !is_closed
        });
        self.missing -= closed.len();
        for (_, uid) in &closed {
            if let Some(count) = self.count_mut(*uid) {
                count.missing -= 1;
            }
        }
        closed.into_iter().map(|(inode, _)| inode).collect()
    }

    fn without_holder(&self) -> impl Iterator<Item = &WantedSocket> {
        self.sockets.iter().filter(|socket| !socket.is_held)
    }

    /// True if a holder was found of each socket.
    pub(super) fn are_all_held(&self) -> bool {
        self.missing == 0
    }

    /// The sockets of which no holder was found yet, by inode.
    pub(super) fn missing(&self) -> Vec<u64> {
        self.without_holder().map(|socket| socket.inode).collect()
    }

    /// The sockets of a user, or of all users.
    pub(super) fn count(&self, uid: Option<u32>) -> Count {
        match uid {
            Some(uid) => {
                let user = self.user(uid).ok().and_then(|place| self.users.get(place));
                user.map(|(_, count)| *count).unwrap_or_default()
            }
            None => Count {
                all: self.sockets.len(),
                missing: self.missing,
            },
        }
    }

    /// True if none of the sockets belongs to the user.
    pub(super) fn is_stranger(&self, uid: Option<u32>) -> bool {
        uid.is_some_and(|uid| self.user(uid).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_once_and_only_with_an_inode() {
        let wanted = WantedSockets::new(vec![(3, 7), (0, 7), (1, 8), (3, 7), (2, 7)]);
        assert_eq!(wanted.missing(), [1, 2, 3]);
        let counts = [Some(7), Some(8), Some(9), None].map(|uid| wanted.count(uid).all);
        assert_eq!(counts, [2, 1, 0, 3]);
        assert!(wanted.is_stranger(Some(9)) && !wanted.is_stranger(Some(8)));
        assert!(!wanted.is_stranger(None));
        assert!(WantedSockets::new(vec![(0, 0)]).is_empty());
    }

    #[test]
    fn what_is_held_or_closed_is_not_missing() {
        let mut wanted = WantedSockets::new(vec![(1, 7), (2, 7), (3, 8), (4, 8)]);
        wanted.hold(1);
        wanted.hold(1);
        wanted.hold(99);
        assert_eq!(
            (wanted.missing(), wanted.count(Some(7)).missing),
            (vec![2, 3, 4], 1)
        );
        // a socket that is held is not looked for among those that are open
        assert_eq!(wanted.close_all_but(&[4]), [2, 3]);
        assert_eq!((wanted.missing(), wanted.count(None).missing), (vec![4], 1));
        assert!(wanted.contains(1) && !wanted.contains(2));
        assert_eq!(wanted.count(Some(7)).missing, 0);
        wanted.hold(4);
        assert!(wanted.are_all_held());
    }
}
