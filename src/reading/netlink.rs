//! A netlink conversation: one request, its answers, and every way in which they can end.
