//! The source ports in use: from those of the entries that were read to those of the table.

use crate::analysis::facts::{Port, Share};
use crate::analysis::tally::{PortCount, Scale, Tally, largest};
use crate::diagnosis::PortUse;
use crate::model::readings::{Estimate, InUse};

/// The pair that uses most of its source ports.
pub(super) fn ports(tally: &Tally, scale: Scale) -> Option<PortUse> {
    most_used(tally, scale).map(|count| port_use(count, scale))
}

fn most_used(tally: &Tally, scale: Scale) -> Option<PortCount> {
    let used = |count: &PortCount| port_use(*count, scale).used;
    let uses = tally.port_uses().into_iter().flatten();
    uses.max_by(|one, other| used(one).compare(used(other)))
}

/// The source ports in use in the whole table.
pub(super) fn port_use(count: PortCount, scale: Scale) -> PortUse {
    PortUse {
        source: count.source.ip(),
        far: count.far.ip(),
        port: Port {
            number: count.far_port,
            protocol: count.protocol,
        },
        used: Share::new(scale.extrapolate(count.ports).min(count.of), count.of),
        translated: count.translated,
    }
}

/// The source ports in use, as a metric: those of the pair that uses most of its range, which is one of many pairs.
pub(super) fn in_use(tally: &Tally, scale: Scale) -> Estimate<InUse> {
    let Some(most) = most_used(tally, scale) else {
        return Estimate::default();
    };
    largest(most.ports, 1.0, scale).map(|used| InUse {
        used: used.min(most.of),
        of: most.of,
    })
}
