//! Plants mistakes (mutants) in source files, each behind a switch: `planted::is(NUMBER)`.
//!
//! `plant DROPPED FILE...` rewrites the files in place and prints a line for each mutant: number, file, line, function
//! and what the mutant does, separated by tabs. DROPPED is a file with the numbers of mutants that do not compile. A
//! mutant keeps its number whether or not others are dropped. The comment `/*NUMBER*/` stands at each place that a mutant
//! changes, so that an error of the compiler leads to its mutant.

mod edits;
mod mutants;
mod values;

use std::collections::BTreeSet;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let dropped = arguments
        .next()
        .ok_or("plant DROPPED FILE...: no argument is given")?;
    let dropped = std::fs::read_to_string(&dropped).map_err(|error| format!("{dropped}: {error}"))?;
    let dropped: BTreeSet<usize> = dropped
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let mut next = 1;
    for file in arguments {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let tree = syn::parse_file(&text).map_err(|error| format!("{file}: {error}"))?;
        let found = mutants::of(&tree, &text, next, &dropped);
        next = found.next;
        for mutant in &found.mutants {
            println!(
                "{}\t{file}\t{}\t{}\t{}",
                mutant.number, mutant.line, mutant.function, mutant.what
            );
        }
        let planted = found.edits.apply(&text);
        std::fs::write(&file, planted).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(())
}
