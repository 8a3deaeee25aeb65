//! The choice of a source for entries: when the better one is not used, and what is said of a table that was not read.

use crate::common::ProcRoot;

const STATE: [&str; 2] = ["--state-dir", "/nonexistent"];

/// A table of one entry that says it has so many, on a kernel of this release.
fn table(count: u32, release: &str) -> ProcRoot {
    let entry = "ipv4 2 udp 17 29 src=192.0.2.7 dst=198.51.100.9 sport=1025 dport=53 src=198.51.100.9 dst=192.0.2.7 sport=53 dport=1025 [ASSURED] use=1\n";
    let root = ProcRoot::tracking(&format!("{count}\n"), "100000\n");
    root.file("net/nf_conntrack", entry)
        .file("net/tcp", "  sl  local_address rem_address   st\n")
        .file("sys/kernel/osrelease", format!("{release}\n"));
    root
}

#[test]
fn a_long_table_is_read_as_text_only_where_that_takes_time_in_proportion_to_its_length() {
    let asked = ["--top", "--state-dir", "/nonexistent", "--source"];
    for (count, release, source, is_read) in [
        (20_000, "6.12.107+deb13-amd64", "auto", true),
        (20_001, "6.12.107+deb13-amd64", "auto", false),
        (20_001, "6.15.9", "auto", false),
        (20_001, "6.16.0-rc1", "auto", true),
        (20_001, "", "auto", false),
        (20_001, "6.12.107+deb13-amd64", "procfs", true),
    ] {
        let got = table(count, release).answer(&[&asked[..], &[source]].concat());
        let from_text = got.value("udp").is_some();
        let says_why = got.text.contains("reading 20001 entries");
        assert_eq!(
            (from_text, says_why),
            (is_read, !is_read),
            "{count} {release} {source}: {}",
            got.text
        );
    }
}

#[test]
fn a_table_without_a_count_is_not_read_and_the_reason_is_said_once() {
    for (count, reason) in [
        (Some("twelve\n"), "nf_conntrack_count says twelve"),
        (None, "nf_conntrack_count does not exist although"),
    ] {
        let root = table(1, "6.18.0");
        match count {
            Some(count) => root.file(crate::common::COUNT, count),
            None => root.remove(crate::common::COUNT),
        };
        let got = root.answer(&[&["-c", "established=5"], &STATE[..]].concat());
        assert_eq!(got.code, 3, "{}", got.text);
        assert_eq!(got.value("established"), None, "{}", got.text);
        assert!(
            got.text.matches(reason).count() == 1 && !got.text.contains("not measured"),
            "{}",
            got.text
        );
    }
}

mod netns {
    use std::process::{Child, Command};

    use crate::common::{
        COUNT, STATISTICS, STATISTICS_HEADER, again_in_namespaces, answer, here, needs, sh,
    };

    #[test]
    fn a_few_entries_beside_very_many_of_other_namespaces_are_not_dumped() {
        needs("conntrack", "conntrack");
        // /proc belongs to the new process namespace, so the namespaces of the host's processes do not count
        let script = "mount -t proc proc /proc; mount -t tmpfs none /run; ip link set lo up";
        let test = here(module_path!(), "beside_very_many");
        again_in_namespaces("-Urnmpf", script, &test);
    }

    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    #[ignore = "run in namespaces of its own by the test above"]
    fn beside_very_many() {
        sh(
            "conntrack -I -p udp -s 192.0.2.1 -d 198.51.100.7 --sport 1 --dport 53 -t 600 2>/dev/null",
            &[],
        );
        // a process whose file says that its namespace is another one, and the count of this namespace
        let other = Running(Command::new("sleep").arg("600").spawn().unwrap());
        let directory = format!("/proc/{}/net", other.0.id());
        let count = format!("/proc/{COUNT}");
        sh(
            r#"mount -t tmpfs none "$1"; mkdir "$1/stat"; touch /run/count; mount --bind /run/count "$2""#,
            &[directory.as_ref(), count.as_ref()],
        );
        let statistics = directory.replace("/net", "") + "/" + STATISTICS;
        for (elsewhere, here, is_dumped) in [
            (100_000, 1, true),
            (100_001, 1, false),
            // not ten times as many
            (100_001, 9_999, false),
            (100_001, 10_000, true),
        ] {
            let zeros = " 00000000".repeat(16);
            let row = format!("{STATISTICS_HEADER}{elsewhere:08x} {zeros}\n");
            std::fs::write(&statistics, row).unwrap();
            std::fs::write("/run/count", format!("{here}\n")).unwrap();
            let got = answer(["--top", "--state-dir", "/nonexistent"]);
            let is_said = got.text.contains(&format!("{elsewhere} entries"));
            assert_eq!(
                is_said, !is_dumped,
                "{elsewhere} beside {here}: {}",
                got.text
            );
            // what was asked for is done
            let got = answer([
                "--top",
                "--source",
                "netlink",
                "--state-dir",
                "/nonexistent",
            ]);
            assert!(got.text.contains("to 198.51.100.7:53/udp"), "{}", got.text);
        }
    }
}
