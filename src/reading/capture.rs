//! Entries as text: lines of /proc/net/nf_conntrack and of `conntrack -L`.
