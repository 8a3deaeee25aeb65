//! The source ports in use: from those of the entries that were read to those of the table.

use crate::analysis::facts::{Port, Share};
use crate::analysis::tally::{PortCount, Scale, Tally};
use crate::diagnosis::PortUse;
use crate::model::readings::InUse;

/// The pair that uses most of its source ports.
pub(super) fn ports(tally: &Tally, scale: Scale) -> Option<PortUse> {
    let uses = tally.port_uses().into_iter().flatten();
    let uses = uses.map(|count| port_use(count, scale));
    uses.max_by(|one, other| one.used.compare(other.used))
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

/// The source ports in use, as a metric.
pub(super) fn in_use(ports: PortUse) -> InUse {
    InUse {
        used: ports.used.part,
        of: ports.used.whole,
    }
}
