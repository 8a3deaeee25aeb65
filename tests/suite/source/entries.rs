//! The choice of a source for entries: when the better one is not used, and what is said of a table that was not read.

use crate::common::ProcRoot;

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
    let asked = ["--top", "--source"];
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
        let says_why = got
            .text
            .contains("reading so many entries is slow before kernel 6.16");
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
        let got = root.answer(&["-c", "established=5"]);
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
    use nix::mount::{MsFlags, mount};

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::cover;
    use crate::common::programs::{Running, command_line};
    use crate::common::{COUNT, STATISTICS, STATISTICS_HEADER, answer, conntrack};

    /// A process whose file says that its namespace is another one, with so many entries, until this is dropped.
    fn elsewhere(entries: u32) -> Running {
        let other = Running::start(&mut command_line("sleep infinity"));
        let process = format!("/proc/{}", other.pid());
        let (directory, none) = (format!("{process}/net"), None::<&str>);
        mount(
            none,
            directory.as_str(),
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
        std::fs::create_dir(format!("{directory}/stat")).unwrap();
        let row = format!(
            "{STATISTICS_HEADER}{entries:08x} {}\n",
            " 00000000".repeat(16)
        );
        std::fs::write(format!("{process}/{STATISTICS}"), row).unwrap();
        other
    }

    #[test]
    fn a_few_entries_beside_very_many_of_other_namespaces_are_not_dumped() {
        // the processes of the host do not count
        inside!(Namespaces::Processes);
        conntrack::insert(&conntrack::udp(1..=1));
        for (there, here, is_dumped) in [
            (100_000, 1, true),
            (100_001, 1, false),
            // not ten times as many
            (100_001, 9_999, false),
            (100_001, 10_000, true),
        ] {
            let _other = elsewhere(there);
            cover(COUNT, &format!("{here}\n"));
            let got = answer(["--top"]);
            let is_said = got.text.contains(&format!("{there} entries"));
            assert_eq!(is_said, !is_dumped, "{there} beside {here}: {}", got.text);
            // a source that was asked for is used
            // the covered count makes the share of its entry tiny, which only -v lists
            let got = answer(["--top", "-v", "--source", "netlink"]);
            assert!(got.text.contains("to 198.51.100.7:53/udp"), "{}", got.text);
        }
    }
}
