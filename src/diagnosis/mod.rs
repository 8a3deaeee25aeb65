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
#[cfg(test)]
mod samples;
mod unanswered;

pub use case::{Case, Configured, Listed, PortUse, Setting};
pub use crowd::is_flood as is_unproven;
pub use finding::{Actor, Crowd, FarEnds, Finding, Flow, ScanTarget, Sweep};

/// A destination or client that holds at least this much of the table stands out. Percent.
const LARGE_SHARE: u64 = 25;
/// From this share on one end has nearly all entries of another. Percent.
const NEARLY_ALL: u64 = 90;
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
        .or_else(|| crowd::crowd(case, facts))
        .or_else(|| connections::not_reused(facts))
        .or_else(|| connections::kept_open(facts))
        .or_else(|| crowd::one_client(facts))
        .or_else(|| connections::not_closed(facts))
        .or_else(|| connections::peers_vanished(case, facts))
        .or_else(|| rest::dns(facts))
        .or_else(|| rest::nobody_stands_out(facts))
}

#[cfg(test)]
mod tests {
    use super::samples::{ALL, dialling, filling, found, of_class, sidekiq};
    use super::*;
    use crate::model::conntrack::Class;

    #[test]
    fn a_table_that_does_not_fill_has_no_finding_about_fullness() {
        let facts = dialling(of_class(Class::TimeWait, ALL), sidekiq(0));
        let calm = Case {
            filling: false,
            ..filling(&facts)
        };
        assert_eq!(diagnose(&calm), None);
        assert!(matches!(found(&facts), Some(Finding::NotReused(_))));
    }

    #[test]
    fn the_finding_of_a_capture_needs_no_problem() {
        let facts = dialling(of_class(Class::TimeWait, ALL), sidekiq(0));
        let capture = Case {
            filling: false,
            capture: true,
            ..filling(&facts)
        };
        assert!(matches!(diagnose(&capture), Some(Finding::NotReused(_))));
    }

    #[test]
    fn a_table_that_was_not_read_has_a_finding_only_about_limits() {
        let case = Case {
            filling: true,
            ..Case::default()
        };
        assert_eq!(diagnose(&case), None);
    }

    #[test]
    fn a_recorder_notes_who_holds_the_entries_whatever_the_state_is() {
        let facts = dialling(of_class(Class::TimeWait, ALL), sidekiq(0));
        let recorder = Case {
            filling: false,
            recording: true,
            ..filling(&facts)
        };
        assert!(matches!(diagnose(&recorder), Some(Finding::NotReused(_))));
    }
}
