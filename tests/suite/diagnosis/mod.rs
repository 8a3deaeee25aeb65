//! Stories of operators, from the alert to the cure.

mod commands;
mod near_misses;
mod redis;
mod runbook;
mod scene;
mod situations;
