//! Netlink requests to the running kernel and the decoders of their answers.

pub mod addresses;
mod attributes;
pub mod conversation;
pub mod ct_dump;
pub mod ct_stats;
pub mod exp_dump;
pub mod sock_diag;
