//! Plain values that every stage understands; this folder imports no stage.

pub mod address;
pub mod cgroup;
pub mod conntrack;
pub mod dump;
pub mod elevation;
pub mod error;
pub mod few;
pub mod foreign;
pub mod local_addresses;
pub mod netns;
pub mod no_recording;
pub mod prefix;
pub mod readings;
pub mod sealed;
pub mod socket;
pub mod text;
pub mod timeouts;
pub mod udp;
pub mod user;
