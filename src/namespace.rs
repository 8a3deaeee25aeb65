//! The network namespaces that are judged, and which of them decides. Pure.

use crate::baseline::Identity;
use crate::table::Readings;

/// A network namespace and what was read of it.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// What tells it from others from one run to the next.
    pub identity: Identity,
    /// What was read of it.
    pub readings: Readings,
}
