//! The table of the remote endpoints that hold most entries, and what it rests on. Plain values.

use crate::analysis::owners::Owner;
use crate::analysis::tally::Endpoint;
use crate::analysis::traffic::Traffic;
use crate::model::dump::{Gap, Source};
use crate::model::error::ReadError;

/// The endpoints that are shown, and the shares of the whole table beside them.
#[derive(Debug, Clone, Default)]
pub struct TopTable {
    /// The endpoints, the one with most entries first.
    pub endpoints: Vec<Ranked>,
    /// Endpoints that were seen, the shown ones included.
    pub seen: u64,
    /// Entries of the largest endpoint that is not shown; 0 if all are shown.
    pub largest_of_the_rest: u64,
    /// Shares of the directions, the largest first, 0 to 1.
    pub directions: Vec<(Traffic, f64)>,
    /// Shares of the services of this host among all entries, the largest first: `:443/tcp`.
    pub services: Vec<(String, f64)>,
}

/// An endpoint of the list.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// Its address, and whether most of its entries pass through this host.
    pub endpoint: Endpoint,
    /// Entries in the whole table, extrapolated from a sample.
    pub entries: u64,
    /// The owners of its sockets, most connections first.
    pub owners: Vec<Owner>,
    /// Its entries without a socket, by reason.
    pub without_socket: Vec<(NoSocket, u64)>,
}

/// The reason why no process was found for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSocket {
    /// The connection is over.
    Closed,
    /// Neither end is on this host.
    Forwarded,
    /// There is a socket, and no process holds it.
    Unheld,
    /// No socket is left, or none that is certain to be the entry's.
    None,
}

/// The basis of the numbers of entries.
#[derive(Debug, Clone, Default)]
pub struct Basis {
    /// The source of the entries.
    pub source: Option<Source>,
    /// Entries or sockets that were read.
    pub read: u64,
    /// The reason why the entries are not from a better source.
    pub why: Option<ReadError>,
    /// The part that was read, if it is not the whole table.
    pub sample: Option<SampledPart>,
    /// Parts of the table that were not read or not parsed.
    pub gaps: Vec<Gap>,
    /// None of the addresses of the host occur in a capture.
    pub own_missing: Option<ReadError>,
    /// Entries may be missing or double, because the hash table was resized meanwhile.
    pub inexact: bool,
    /// The reason why names of owners may be missing.
    pub names_incomplete: Option<String>,
    /// Notes besides: broken messages, processes that could not be seen.
    pub notes: Vec<String>,
}

/// A part that stands for the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampledPart {
    /// Entries read.
    pub read: u64,
    /// Entries there are.
    pub total: u64,
    /// 95 % half-width of the largest share, 0 to 1; none if the part is not a fair sample.
    pub half_width: Option<f64>,
}
