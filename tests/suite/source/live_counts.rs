//! The real kernel, in network namespaces this test makes itself: no privilege needed, no other table touched.

mod netns {
    use std::time::Duration;

    use crate::common::conntrack::{self, udp};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{cover, loopback_up};
    use crate::common::plugin::{UNPRIVILEGED, check_after};
    use crate::common::wait::{at_any_moment, wait_for};
    use crate::common::{Answer, MAX, answer};

    fn entries_of(answer: &Answer) -> String {
        answer.value("entries").unwrap()[0].clone()
    }

    #[test]
    fn the_count_follows_what_is_inserted_and_deleted() {
        inside!(Namespaces::Network);
        loopback_up();
        let plain = || answer([""; 0]);
        assert_eq!((entries_of(&plain()), plain().code), ("0".to_owned(), 0));
        conntrack::insert(&udp(1..=4));
        assert_eq!(entries_of(&plain()), "4");
        conntrack::insert(&udp(5..=1000));
        assert_eq!(entries_of(&plain()), "1000");
        let got = answer(["-w", "entries=500", "-c", "entries=999"]);
        assert_eq!((entries_of(&got), got.code), ("1000".to_owned(), 2));
        assert!(
            got.first_line().contains("% full - 1000 of "),
            "{}",
            got.text
        );
        let got = answer(["-w", "entries=1000"]);
        assert_eq!((entries_of(&got), got.code), ("1000".to_owned(), 0));
        conntrack::flush();
        assert_eq!((entries_of(&plain()), plain().code), ("0".to_owned(), 0));
    }

    #[test]
    fn expired_entries_are_not_taken_for_more_of_what_a_sample_holds() {
        inside!(Namespaces::Network);
        loopback_up();
        let expired = udp(1..=1000).replace("-t 600", "-t 1");
        let alive = udp(2001..=2100);
        let arguments = ["--sample", "50", "-c", "udp=105"];
        // expired entries are collected in the background, so the table is filled again until the check comes first
        let got = wait_for("expired entries that are counted", || {
            conntrack::flush();
            conntrack::insert(&(expired.clone() + &alive));
            at_any_moment(Duration::from_millis(1100));
            let got = answer(arguments);
            let counted = entries_of(&got).parse::<u32>().unwrap();
            if counted >= 120 {
                Ok(got)
            } else {
                Err(got.text)
            }
        });
        assert_eq!(got.code, 0, "{}", got.text);
        let listed = "the table lists 100 of ";
        assert!(got.first_line().contains(listed), "{}", got.text);
        assert_eq!(got.value("udp").unwrap()[0], "100", "{}", got.text);
    }

    #[test]
    fn the_counters_are_those_of_conntrack() {
        inside!(Namespaces::Network);
        loopback_up();
        conntrack::insert(&udp(1..=300));
        let got = answer([""; 0]);
        for name in ["drop", "early_drop", "insert_failed", "chaintoolong"] {
            let total = conntrack::counter(name);
            assert_eq!(got.value(name).unwrap(), [format!("{total}c")], "{name}");
        }
    }

    #[test]
    fn a_table_filled_past_its_thresholds_is_told_as_such() {
        inside!(Namespaces::Network);
        loopback_up();
        conntrack::insert(&udp(1..=1000));
        let got = [2000, 1250, 1249, 1000, 999].map(|max| {
            cover(MAX, &format!("{max}\n"));
            answer([""; 0])
        });
        assert_eq!(got.each_ref().map(|answer| answer.code), [0, 0, 1, 2, 2]);
        for (answer, text) in got.iter().zip([
            "OK: 50.0% full (1000 of 2000 entries, 1000 free)|",
            "OK: 80.0% full (1000 of 1250 entries, 250 free)|",
            "WARNING: 80.06% full - 1000 of 1249 entries, usage above 80%|",
            "CRITICAL: 100.0% full - 1000 of 1000 entries, usage above 90%|",
            "CRITICAL: 100.1% full - 1000 of 999 entries, over the limit, usage above 90%|",
        ]) {
            assert!(
                answer
                    .first_line()
                    .starts_with(&format!("CONNTRACK is {text}")),
                "{}",
                answer.text
            );
        }
    }

    #[test]
    fn entries_that_expired_and_were_not_collected_are_missing_in_the_list() {
        inside!(Namespaces::Network);
        loopback_up();
        let entries = udp(1..=1000).replace("-t 600", "-t 1");
        // the kernel collects some of them in the background, and all of them at last, so the table is filled again
        // until the check comes first
        let got = wait_for("entries that expired and are counted", || {
            conntrack::flush();
            conntrack::insert(&entries);
            // no list of the table could tell: to list it is to collect them
            at_any_moment(Duration::from_millis(1100));
            let got = answer(["--top", "-w", "0"]);
            let counted = got.first_line().contains("the table lists 0 of");
            let several = entries_of(&got).parse::<u32>().unwrap() > 1;
            if counted && several {
                Ok(got)
            } else {
                Err(got.text)
            }
        });
        assert_eq!(got.code, 1, "{}", got.text);
        let first = got.first_line();
        let count = entries_of(&got);
        let part = format!("% full - the table lists 0 of {count} - ");
        assert!(first.contains(&part), "{first}");
        assert!(
            got.text
                .contains("\nwhy: the entries that are not listed have expired, "),
            "{}",
            got.text
        );
        assert!(!got.text.contains("stands out"), "{}", got.text);
    }

    #[test]
    fn every_user_gets_the_same_verdict() {
        inside!(Namespaces::Network);
        loopback_up();
        conntrack::insert(&udp(1..=50));
        let arguments = ["-w", "entries=10"];
        let root = answer(arguments);
        let plain = check_after(&UNPRIVILEGED, arguments).output().unwrap();
        assert_eq!(root, Answer::of(plain));
        assert_eq!(root.code, 1, "{}", root.text);
        assert!(
            root.first_line().contains("% full - 50 of "),
            "{}",
            root.text
        );
    }
}
