//! The process: how it ends, what it may, what it asks of the kernel, and what it does when a call fails.

mod endings;
mod faults;
mod permissions;
mod signals;
mod system_calls;
