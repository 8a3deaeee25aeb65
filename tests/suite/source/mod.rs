//! Reading the kernel: files, netlink, captures, other network namespaces.

mod addresses;
mod byte_order;
mod capture;
mod cgroup_names;
mod crowd;
pub mod datagrams;
mod decode;
mod dump;
mod entries;
mod foreign;
mod live_counts;
mod live_dump;
mod namespaces;
mod processes;
mod search;
mod untracked;
