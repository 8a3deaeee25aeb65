//! The diagnosis: one finding for an answer, chosen by evidence. Pure: facts and measurements in, a [`Finding`] out.
//!
//! The rules stand in the order of [`diagnose`], and the first one that fits wins. A file holds the rules of one family.
//! A rule returns data only; [`crate::report`] makes the sentences.

mod case;
mod connections;
mod crowd;
mod finding;
mod limits;
pub mod relief;
mod rest;
mod unanswered;

pub use case::{Case, Configured, Listed, PortUse, Setting, Timeouts};
pub use crowd::is_flood as is_unproven;
pub use finding::{Actor, Crowd, Finding, Flow, ScanTarget, Sweep};

/// A destination or client that holds at least this much of the table stands out. Percent.
const LARGE_SHARE: u64 = 25;
/// Nobody is named who holds less of the table. Percent.
const NAMED_SHARE: u64 = 10;

/// The finding for a case, if a rule fits.
///
/// The rules about a full table need a table that fills. If packets were lost below the limit only the chains and the
/// source ports can explain it.
pub fn diagnose(case: &Case<'_>) -> Option<Finding> {
    limits::long_chains(case)
        .or_else(|| limits::ports_used_up(case))
        .or_else(|| {
            case.explains_fullness()
                .then(|| of_fullness(case))
                .flatten()
        })
}

/// The rules about a table that fills, in their order.
fn of_fullness(case: &Case<'_>) -> Option<Finding> {
    let of_limits = limits::not_configured(case).or_else(|| rest::count_disagrees(case));
    if of_limits.is_some() {
        return of_limits;
    }
    let facts = case.facts?;
    unanswered::no_answer(facts)
        .or_else(|| unanswered::one_way(facts))
        .or_else(|| unanswered::scan(facts))
        .or_else(|| unanswered::one_sided(facts))
        .or_else(|| crowd::crowd(facts))
        .or_else(|| connections::not_reused(facts))
        .or_else(|| connections::kept_open(facts))
        .or_else(|| crowd::one_client(facts))
        .or_else(|| connections::not_closed(facts))
        .or_else(|| connections::peers_vanished(case, facts))
        .or_else(|| rest::dns(facts))
        .or_else(|| rest::nobody_stands_out(facts))
}
