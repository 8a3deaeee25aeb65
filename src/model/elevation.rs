//! The privileges that a program has and its caller lacks.

/// The privileges of this program that its caller lacks (AT_SECURE in getauxval(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elevation {
    /// Nothing.
    None,
    /// It holds capabilities, or privileges of a security module. Its files are those of the caller.
    Capabilities,
    /// It runs setuid or setgid. Its files are those of a user who is not the caller.
    AnotherUser,
}
