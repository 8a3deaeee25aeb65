//! The checks of the source code, tests/code, on sources with a planted fault: each names it. `make check` runs them on
//! the sources as they are.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::common::folder::new_folder;
use crate::common::programs::{needs, program, script};

/// Tests that need python3.
mod python {
    use super::*;

    /// Standard output of a check of tests/code on these sources, and true if it found no fault.
    fn checked(check: &str, src: &Path) -> (String, bool) {
        needs("python3");
        let output = script(&format!("code/{check}")).arg(src).output().unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        (
            String::from_utf8(output.stdout).unwrap(),
            output.status.success(),
        )
    }

    /// The sources of the plugin with text at the end of one file.
    fn with_fault(file: &str, text: &str) -> TempDir {
        let folder = new_folder();
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let copied = program("cp").arg("-r").arg(src).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        let path = folder.path().join("src").join(file);
        let code = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{code}\n{text}\n")).unwrap();
        folder
    }

    #[test]
    fn an_import_that_reaches_a_forbidden_stage_by_way_of_another_is_named() {
        // source may import runtime, and runtime may import report
        let folder = with_fault("source/file.rs", "use crate::runtime::output::finish;");
        let (printed, passed) = checked("flow", &folder.path().join("src"));
        assert!(!passed);
        assert!(
            printed.contains("source/file.rs: source::file -> runtime::output -> report"),
            "{printed}"
        );
    }

    #[test]
    fn an_import_in_a_group_or_by_way_of_super_is_named() {
        for line in [
            "use crate::{judge::metric, model::text};",
            "use super::super::judge::metric::Metric;",
        ] {
            let folder = with_fault("model/text.rs", line);
            let (printed, passed) = checked("flow", &folder.path().join("src"));
            assert!(!passed);
            assert!(
                printed.contains("model/text.rs: model::text -> judge::metric"),
                "{line}: {printed}"
            );
        }
    }

    #[test]
    fn a_file_that_a_pure_stage_opens_is_named() {
        let folder = with_fault(
            "judge/metric.rs",
            "fn read() { let _ = std::fs::read(\"/proc/uptime\"); }",
        );
        let (printed, passed) = checked("flow", &folder.path().join("src"));
        assert!(!passed);
        assert!(printed.contains("std::fs in a pure stage"), "{printed}");
    }

    #[test]
    fn comments_strings_and_tests_may_name_what_code_may_not() {
        let text = "// std::fs\nconst NAME: &str = \"std::fs\";\n#[cfg(test)]\nmod more { use crate::judge::metric::Metric; }";
        let folder = with_fault("model/text.rs", text);
        assert_eq!(
            checked("flow", &folder.path().join("src")),
            (String::new(), true)
        );
    }

    #[test]
    fn a_long_function_and_a_long_file_are_named() {
        let line = "    let _ = 1;\n";
        let folder = with_fault(
            "model/text.rs",
            &format!("fn long() {{\n{}}}", line.repeat(79)),
        );
        let (printed, passed) = checked("sizes", &folder.path().join("src"));
        assert!(!passed);
        assert!(
            printed.contains("long has 81 lines, at most 80 are allowed"),
            "{printed}"
        );
        let folder = with_fault("model/text.rs", &"const _: u8 = 1;\n".repeat(400));
        let (printed, passed) = checked("sizes", &folder.path().join("src"));
        assert!(!passed);
        assert!(printed.contains("model/text.rs: "), "{printed}");
        assert!(
            printed.contains("lines of code, at most 400 are allowed"),
            "{printed}"
        );
    }
}
