//! The part of a look into the table that the recorder keeps.

use super::super::diagnosis::Diagnosis;
use super::super::table::Table;
use super::super::verdict::Verdict;
use crate::analysis::top::Ranked;
use crate::model::dump::Source;
use crate::recording::{Holding, MAX_ENDPOINTS, RecordedFinding, Sample, Survey};
use crate::report::{endpoints, finding};

/// The part of a look into the table that is kept; none if the table could not be read.
pub(super) fn survey(
    sample: Sample,
    verdict: &Verdict,
    table: &Table,
    diagnosis: &Diagnosis,
) -> Option<Survey> {
    let source = table.basis.source?;
    let top = table.top.as_ref()?;
    let readings = verdict.readings();
    let total = table.basis.sample.map_or(table.basis.read, |of| of.total);
    Some(Survey {
        at: sample.at,
        count: sample.count,
        max: sample.max,
        source,
        read: table.basis.read,
        total,
        finding: found(diagnosis),
        endpoints: top
            .endpoints
            .iter()
            .take(MAX_ENDPOINTS)
            .map(holding)
            .collect(),
        counts: table
            .numbers
            .counts
            .as_ref()
            .ok()
            .filter(|_| source != Source::Sockets)
            .cloned(),
        lines: endpoints::lines(top, &table.basis, readings, &diagnosis.names, false),
    })
}

/// The finding in words, with the advice.
fn found(diagnosis: &Diagnosis) -> Option<RecordedFinding> {
    let finding = diagnosis.finding.as_ref()?;
    let holder = finding::holder(finding, &diagnosis.names);
    Some(RecordedFinding {
        rule: finding.rule(),
        sentence: finding::sentence(finding, &diagnosis.names, finding::LATER_ROOM),
        holder: holder.map(|(name, share)| Holding {
            entries: share.part,
            name,
            owner: None,
        }),
        why: diagnosis.advice.why.clone(),
        fix: diagnosis.advice.fix.clone(),
        look: diagnosis.advice.look.clone(),
    })
}

fn holding(ranked: &Ranked) -> Holding {
    Holding {
        entries: ranked.entries,
        name: endpoints::label(ranked),
        owner: ranked.owners.first().map(|owner| owner.who.to_string()),
    }
}
