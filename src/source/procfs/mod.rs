//! Files of a procfs mount: a module for each file or family of files, with the reader and the parser apart.

pub mod addresses;
mod allowance;
pub mod boot;
pub mod cgroup;
pub mod ct_stat;
pub mod ct_table;
mod hidepid;
pub mod meminfo;
pub mod netns;
pub mod netns_id;
mod process;
pub mod processes;
pub(super) mod raw_sockets;
pub mod sockets;
pub mod sysctl;
mod wanted;
