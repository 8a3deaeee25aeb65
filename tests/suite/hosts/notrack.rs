//! The rules of packaging/notrack: what they keep out of the table and what gets through a firewall, in namespaces this
//! test makes itself; and that NRPE answers through a full table with them, and not without. What a limit that is
//! lowered makes of it, on every kernel: tests/kernels/scenarios/notrack.sh.

use crate::common::programs::{printed, script};

/// Holds the rules of one kind to what they promise.
fn story(kind: &str) {
    printed(script("notrack/story").arg(kind));
}

mod netns {
    use super::*;
    use crate::common::namespaces::{Namespaces, inside};

    #[test]
    fn the_rules_of_nftables_keep_monitoring_out_of_the_table_and_nothing_else() {
        inside!(Namespaces::Network);
        story("nftables");
    }

    #[test]
    fn as_it_is_shipped_it_loads_twice_and_changes_nothing() {
        inside!(Namespaces::Network);
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/notrack/nftables.conf"
        );
        let said = printed(script("notrack/shipped").arg(file));
        assert!(said.contains("tcp dport { 5665, 5666 } notrack"), "{said}");
        assert!(said.contains("counter packets 1 "), "{said}");
    }
}

mod iptables {
    use super::*;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::programs::fixed;

    #[test]
    fn the_rules_of_iptables_do_the_same() {
        inside!(Namespaces::Network);
        story("iptables-nft");
    }

    #[test]
    fn the_rules_of_iptables_legacy_do_the_same() {
        inside!(Namespaces::Network);
        story("iptables-legacy");
    }

    #[test]
    fn without_an_address_they_are_refused() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/notrack/iptables.sh");
        let mut start = fixed(std::process::Command::new(script));
        start.arg("start").env_remove("FAR4").env_remove("FAR6");
        let output = start.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("FAR4 and FAR6 name nobody"), "{said}");
    }
}

/// A real NRPE, in a namespace whose table is filled up to the limit of this host.
mod nrpe {
    mod admin {
        use crate::common::answers;
        use crate::common::hosts::Plugin;
        use crate::common::namespaces::{Namespaces, inside};
        use crate::common::programs::{compiled, printed, script};

        #[test]
        fn a_full_table_silences_nrpe_without_the_rules_and_is_critical_with_them() {
            inside!(Namespaces::RootNetwork);
            let plugin = Plugin::for_everybody();
            let mut full_table = script("notrack/full-table");
            let got = answers(&printed(
                full_table.arg(&plugin.path).arg(compiled("ctload")),
            ));
            let codes: Vec<i32> = got.iter().map(|answer| answer.code).collect();
            assert_eq!(codes, [0, 3, 2, 3], "{got:#?}");
            let silence = "CHECK_NRPE STATE UNKNOWN: Socket timeout after 3 seconds.\n";
            for (answer, expected) in got.iter().zip([
                "CONNTRACK is OK: ",
                silence,
                "CONNTRACK is CRITICAL: 100.0% full - ",
                silence,
            ]) {
                assert!(answer.text.starts_with(expected), "{got:#?}");
            }
        }
    }
}
