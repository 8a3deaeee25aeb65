//! Writes the definitions that come from one table each into a folder, below the names that they have in packaging/:
//! `definitions FOLDER`. An example of the package and not a part of the program. `make definitions` calls it.

use std::path::Path;
use std::{env, error, fs};

mod files;
#[allow(dead_code, reason = "its main is that of another example")]
#[path = "../man/manual.rs"]
mod manual;

fn main() -> Result<(), Box<dyn error::Error>> {
    let folder = env::args().nth(1).ok_or("usage: definitions FOLDER")?;
    for (name, text) in files::all(&manual::command())? {
        let path = Path::new(&folder).join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
