//! Changes of a text by insertion and replacement, which may be nested.

use std::ops::Range;

/// The order of edits at the same place: what closes an expression, what replaces a token, what opens an expression.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Close,
    Replace,
    Open,
}

struct Edit {
    at: Range<usize>,
    kind: Kind,
    text: String,
}

/// The changes of one file. Of expressions that begin at the same place the outer one is opened first; of those that end
/// at the same place the inner one has to be closed first.
#[derive(Default)]
pub struct Edits(Vec<Edit>);

impl Edits {
    /// Inserts a text before an expression.
    pub fn open(&mut self, at: usize, text: String) {
        self.0.push(Edit { at: at..at, kind: Kind::Open, text });
    }

    /// Inserts a text after an expression.
    pub fn close(&mut self, at: usize, text: String) {
        self.0.push(Edit { at: at..at, kind: Kind::Close, text });
    }

    /// Replaces a token.
    pub fn replace(&mut self, at: Range<usize>, text: String) {
        self.0.push(Edit { at, kind: Kind::Replace, text });
    }

    /// The changed text.
    pub fn apply(mut self, text: &str) -> String {
        // a stable sort: edits of one kind at one place stay in the order in which they were made
        self.0.sort_by_key(|edit| (edit.at.start, edit.kind));
        let mut changed = String::with_capacity(text.len() * 2);
        let mut done = 0;
        for edit in &self.0 {
            changed.push_str(&text[done..edit.at.start]);
            changed.push_str(&edit.text);
            done = edit.at.end;
        }
        changed.push_str(&text[done..]);
        changed
    }
}
