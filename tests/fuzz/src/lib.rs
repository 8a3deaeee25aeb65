//! The fuzz targets: what may come from outside against what must be true of it, each a function that panics where it
//! is not.
//!
//! The programs in `fuzz_targets` hand them what libFuzzer makes up. `tests/suite/fuzzing.rs` of the plugin takes this file in
//! as a module and hands them what [`seeds`] makes of the fixtures, and every input that once was a finding.
#![allow(dead_code, unreachable_pub, clippy::indexing_slicing)] // both users use their own part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a finding is told

#[path = "../../suite/common/contract.rs"]
mod contract;

mod arguments;
mod datagrams;
pub mod files;
mod kernel_files;
mod pipeline;
mod proc_files;
mod ranges;
mod recording;
pub mod seeds;
mod sock_diag;
mod state;
mod table_text;

pub use arguments::arguments;
pub use datagrams::datagrams;
pub use kernel_files::kernel_files;
pub use pipeline::pipeline;
pub use proc_files::proc_files;
pub use ranges::ranges;
pub use recording::recording;
pub use sock_diag::sock_diag;
pub use state::state;
pub use table_text::table_text;

/// A target: takes anything, and panics where something is not as it must be.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its program, and of its folder of regressions.
pub const TARGETS: [(&str, Target); 10] = [
    ("ranges", ranges),
    ("arguments", arguments),
    ("kernel_files", kernel_files),
    ("datagrams", datagrams),
    ("table_text", table_text),
    ("sock_diag", sock_diag),
    ("state", state),
    ("recording", recording),
    ("proc_files", proc_files),
    ("pipeline", pipeline),
];

/// Holds an answer against the output contract, and a check's also against how long it may be.
fn judge(report: &check_conntrack::report::Report, verbosity: u8) -> contract::Answer {
    let answer = contract::Answer {
        code: report.state.exit_code(),
        text: report.text.clone(),
    };
    answer.keeps_the_contract();
    assert!(
        answer.first_line().starts_with("CONNTRACK is "),
        "{}",
        answer.text
    );
    assert!(verbosity > 0 || answer.fits_nrpe_2(), "{}", answer.text);
    answer
}
