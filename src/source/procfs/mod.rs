//! Files of a procfs mount: a module for each file or family of files, with the reader and the parser apart.

pub mod addresses;
pub mod cgroup;
pub mod ct_stat;
pub mod ct_table;
pub mod meminfo;
pub mod netns;
pub mod processes;
pub mod sockets;
pub mod sysctl;
