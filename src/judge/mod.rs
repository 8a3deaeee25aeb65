//! The verdict: ranges, thresholds, metrics, and the comparison of two runs. Pure.

pub mod assess;
pub mod history;
pub mod history_format;
pub mod losses;
pub mod measure;
pub mod metric;
pub mod netns;
pub mod number;
pub mod range;
pub mod slip;
pub mod threshold;
