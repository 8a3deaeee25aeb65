//! The values of the options as clap hands them out: text, which [`super`] judges.

use std::path::PathBuf;

use clap::ArgMatches;

use super::command::POSITIONAL;

/// The values of the options, by their names.
#[derive(Debug, Clone)]
pub(super) struct Args {
    pub(super) warning: Vec<String>,
    pub(super) critical: Vec<String>,
    pub(super) top: Option<String>,
    pub(super) top_when: Option<String>,
    pub(super) aggregate: Option<String>,
    pub(super) own: Vec<String>,
    pub(super) source: Option<String>,
    pub(super) table: Option<PathBuf>,
    pub(super) max: Option<String>,
    pub(super) sample: Option<String>,
    pub(super) netns: Option<String>,
    pub(super) proc_root: Option<PathBuf>,
    pub(super) record: Option<String>,
    pub(super) recording: Option<PathBuf>,
    pub(super) absent: Option<String>,
    pub(super) empty: Option<String>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) timeout: Option<String>,
    pub(super) verbose: u8,
    pub(super) positional: Vec<String>,
}

impl Args {
    pub(super) fn new(matches: &mut ArgMatches) -> Self {
        Self {
            warning: texts(matches, "warning"),
            critical: texts(matches, "critical"),
            top: matches.remove_one("top"),
            top_when: matches.remove_one("top-when"),
            aggregate: matches.remove_one("aggregate"),
            own: texts(matches, "own"),
            source: matches.remove_one("source"),
            table: matches.remove_one("table"),
            max: matches.remove_one("max"),
            sample: matches.remove_one("sample"),
            netns: matches.remove_one("netns"),
            proc_root: matches.remove_one("proc-root"),
            record: matches.remove_one("record"),
            recording: matches.remove_one("recording"),
            absent: matches.remove_one("absent"),
            empty: matches.remove_one("empty"),
            state_dir: matches.remove_one("state-dir"),
            timeout: matches.remove_one("timeout"),
            verbose: matches.get_count("verbose"),
            positional: texts(matches, POSITIONAL),
        }
    }
}

fn texts(matches: &mut ArgMatches, id: &str) -> Vec<String> {
    matches.remove_many(id).into_iter().flatten().collect()
}
