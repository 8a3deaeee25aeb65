//! Stories of operators, from the alert to the cure.

mod redis;
mod runbook;
mod scene;
mod situations;
