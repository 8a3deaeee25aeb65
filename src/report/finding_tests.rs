//! Sentences and advice of findings, as the contract and the readers of alerts want them.

use std::time::Duration;

use super::advice::{Advice, AdviceContext, advice};
use super::finding::sentence;
use super::sentence_parts::AddressNames;
use crate::analysis::facts::{Distinct, Held, PairEnd, Port, Share, SocketHolder, Split};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::diagnosis::relief::Relief;
use crate::diagnosis::{
    Actor, Configured, Crowd, FarEnds, Finding, Flow, Listed, PortUse, ScanTarget, Setting, Sweep,
};
use crate::model::cgroup::{Container, ContainerName, Name};
use crate::model::conntrack::{Class, Protocol};
use crate::model::netns::NetnsRepresentative;
use crate::model::timeouts::Timeouts;

fn split(classes: &[(Class, u64)]) -> Split {
    let mut split = Split::default();
    for (class, n) in classes {
        split.classes[class.index()] += n;
        split.entries += n;
        if *class == Class::SynSent {
            split.unanswered += n;
        }
    }
    split
}

fn to(address: &str) -> EndpointId {
    EndpointId::To {
        address: address.parse().unwrap(),
        protocol: Protocol::TCP,
        local: false,
    }
}

fn client(address: &str) -> Actor {
    Actor::Client(EndpointId::From {
        address: address.parse().unwrap(),
        length: None,
    })
}

fn who(name: &str, threads: u64, connections: u64) -> SocketHolder {
    SocketHolder {
        name: name.to_owned(),
        unit: Some(name.to_owned()),
        process: Some(("ruby".to_owned(), 812)),
        processes: 1,
        threads,
        connections,
    }
}

fn here(name: &str, entries: u64, seen: u64) -> Actor {
    Actor::Here {
        held: Held {
            who: who(name, 25, entries),
            entries,
        },
        seen,
    }
}

fn flow(actor: Actor, to_address: &str, classes: &[(Class, u64)], whole: u64) -> Flow {
    let split = split(classes);
    Flow {
        actor,
        to: PairEnd::Remote(to(to_address)),
        share: Share::new(split.entries, whole),
        split,
    }
}

fn seen(n: u64) -> Distinct {
    Distinct {
        seen: n,
        at_least: false,
    }
}

const SECONDS: fn(u64) -> Option<Duration> = |seconds| Some(Duration::from_secs(seconds));

fn timeouts() -> Timeouts {
    Timeouts {
        time_wait: SECONDS(120),
        established: SECONDS(432_000),
        syn_sent: SECONDS(120),
        syn_recv: SECONDS(60),
        close_wait: SECONDS(60),
        udp: SECONDS(30),
    }
}

fn relief() -> Relief {
    Relief {
        max: 32_768,
        buckets: None,
        room: 25_173,
        lasts: SECONDS(1020),
        memory: 9_437_184,
    }
}

fn advised(finding: &Finding) -> Advice {
    let names = AddressNames::new();
    advice(Some(finding), usual(&names))
}

/// The basis of the advice on a table that is nearly full, on a host that may set its limits.
fn usual(names: &AddressNames) -> AdviceContext<'_> {
    AdviceContext {
        limit_is_near: true,
        names,
        timeouts: timeouts(),
        relief: Some(relief()),
        max: Some(8192),
        sets_limits: true,
        capture: false,
        netns: None,
    }
}

fn said(finding: &Finding) -> String {
    sentence(finding, &AddressNames::new(), usize::MAX)
}

/// The story that this plugin was made for.
fn redis() -> Finding {
    Finding::NotReused(flow(
        here("sidekiq.service", 1370, 1370),
        "10.0.3.7:6379",
        &[(Class::TimeWait, 5498), (Class::Established, 1374)],
        7595,
    ))
}

#[test]
fn connections_that_are_not_reused_name_the_unit_the_destination_and_the_share() {
    let finding = redis();
    assert_eq!(
        said(&finding),
        "sidekiq.service to 10.0.3.7:6379/tcp holds 90% of the entries, 5498 of 6872 already closed (TIME_WAIT)"
    );
    let advice = advised(&finding);
    assert_eq!(
        advice.why.as_deref(),
        Some(
            "sidekiq.service opens a new connection for each request, and a closed connection keeps its entry for \
             2 minutes; it holds 1370 of the 1374 still open"
        )
    );
    assert_eq!(
        advice.now.as_deref(),
        Some(
            "sysctl -w net.netfilter.nf_conntrack_max=32768 (room for 17 minutes at this growth, up to 10 MB)"
        )
    );
    assert_eq!(
        advice.fix.as_deref(),
        Some(
            "give sidekiq.service a connection pool that outlives the request (25 threads, 1370 connections open)"
        )
    );
}

#[test]
fn a_router_has_no_pool_and_the_client_is_the_one_that_has_to_change() {
    let finding = Finding::NotReused(flow(
        client("10.244.4.17"),
        "10.96.0.50:80",
        &[(Class::TimeWait, 900)],
        1000,
    ));
    assert!(said(&finding).starts_with("10.244.4.17 to 10.96.0.50:80/tcp holds 90%"));
    assert!(
        advised(&finding)
            .fix
            .unwrap()
            .contains("let 10.244.4.17 reuse connections to 10.96.0.50:80/tcp")
    );
}

#[test]
fn a_container_is_named_in_the_place_of_its_address() {
    let names: AddressNames = [(
        "10.244.4.17".parse().unwrap(),
        NetnsRepresentative {
            pid: Some(4144),
            command: Some("python3".to_owned()),
            name: Name::Container(Box::new(Container {
                name: Some(ContainerName::Id("4f2ac1d2e3f4".repeat(6))),
                ..Container::default()
            })),
        },
    )]
    .into();
    let finding = Finding::NotReused(flow(
        client("10.244.4.17"),
        "10.96.0.50:80",
        &[(Class::TimeWait, 900)],
        1000,
    ));
    assert!(sentence(&finding, &names, usize::MAX).starts_with(
        "container 4f2ac1d2e3f4 (python3[4144], 10.244.4.17) to 10.96.0.50:80/tcp holds 90%"
    ));
}

#[test]
fn names_lose_what_can_be_looked_up_if_line_1_would_be_too_long() {
    let pod = |pid, command: &str, id: &str| NetnsRepresentative {
        pid: Some(pid),
        command: Some(command.to_owned()),
        name: Name::Container(Box::new(Container {
            name: Some(ContainerName::Id(id.repeat(6))),
            pod: Some("12345678-9abc-def0-1234-56789abcdef0".to_owned()),
            ..Container::default()
        })),
    };
    let names: AddressNames = [
        ("10.244.4.17", pod(4144, "python3", "4f2ac1d2e3f4")),
        ("10.244.4.30", pod(4155, "redis-server", "9b1c0a7d5c1b")),
    ]
    .map(|(address, pod)| (address.parse().unwrap(), pod))
    .into();
    let finding = Finding::NotReused(flow(
        client("10.244.4.17"),
        "10.244.4.30:6379",
        &[(Class::TimeWait, 900)],
        1000,
    ));
    let whole = sentence(&finding, &names, usize::MAX);
    assert!(whole.contains("container 9b1c0a7d5c1b (pod 12345678-9abc-"));
    assert_eq!(sentence(&finding, &names, whole.len()), whole);
    assert_eq!(
        sentence(&finding, &names, whole.len() - 1),
        "container 4f2ac1d2e3f4 (python3[4144], 10.244.4.17) to 10.244.4.30:6379/tcp on redis-server[4155] holds 90% \
         of the entries, 900 of 900 already closed (TIME_WAIT)"
    );
    let unit = "a-service-with-a-very-long-name-that-somebody-chose.service";
    let finding = Finding::NoAnswer(flow(
        here(unit, 81, 81),
        "10.0.3.9:5672",
        &[(Class::SynSent, 900)],
        1000,
    ));
    assert!(said(&finding).ends_with(&format!("all of {unit})")));
    assert_eq!(
        sentence(&finding, &names, 0),
        "a-service-with-a-very-long-name-th.. to 10.0.3.9:5672/tcp gets no answer, 90% of the entries \
         (81 of 900 attempts seen at a socket, all its own)"
    );
}

#[test]
fn where_no_limit_can_be_set_the_command_is_one_for_the_host() {
    let names = AddressNames::new();
    let of = |finding: &Finding, sets_limits| {
        let basis = AdviceContext {
            sets_limits,
            ..usual(&names)
        };
        advice(Some(finding), basis)
    };
    let buckets = Finding::LongChains {
        buckets: 512,
        wanted: 16_384,
        count: None,
    };
    for finding in [&redis(), &buckets] {
        let now = |sets_limits| of(finding, sets_limits).now.unwrap();
        let remark = "(on the host itself; ";
        assert!(now(false).contains(remark), "{}", now(false));
        assert_eq!(now(false).replace(remark, "("), now(true));
    }
    let fix = of(&buckets, false).fix.unwrap();
    assert!(fix.contains(" in /etc/sysctl.d of the host "), "{fix}");
    // the range of ports belongs to this namespace
    let ports = Finding::PortsUsedUp(PortUse {
        source: "203.0.113.1".parse().unwrap(),
        far: "198.51.100.5".parse().unwrap(),
        port: Port {
            number: 443,
            protocol: Protocol::TCP,
        },
        used: Share::new(100, 100),
        translated: false,
    });
    assert!(of(&ports, true).now.is_some());
    assert_eq!(of(&ports, false).now, of(&ports, true).now);
}

#[test]
fn the_program_that_no_socket_names_is_shown_by_a_command() {
    let of = |actor| {
        let to = "10.0.3.9:5672";
        [
            Finding::NoAnswer(flow(actor, to, &[(Class::SynSent, 900)], 1000)),
            Finding::NotReused(flow(Actor::ThisHost, to, &[(Class::TimeWait, 900)], 1000)),
        ]
    };
    for finding in of(Actor::ThisHost) {
        let look = advised(&finding).look.unwrap();
        assert!(look.starts_with("ss -tnp dst 10.0.3.9 (as root"), "{look}");
    }
    let [known, _] = of(here("checkout.service", 900, 900));
    assert_eq!(advised(&known).look, None);
}

#[test]
fn new_connections_of_a_scanner_are_refused_but_for_those_of_the_reader() {
    let fix = |address| {
        let finding = scan(
            Traffic::Input,
            client(address),
            ScanTarget::PortsHere(seen(4000)),
        );
        advised(&finding).fix.unwrap()
    };
    assert!(fix("198.51.100.9").starts_with("iptables -I INPUT -s 198.51.100.9 -p tcp "));
    assert!(fix("2001:db8::9").starts_with("ip6tables -I INPUT -s 2001:db8::9 -p tcp "));
    for port in ["22", "5666", "6556"] {
        assert!(fix("198.51.100.9").contains(port), "{port}");
    }
}

#[test]
fn an_owner_that_was_seen_at_few_attempts_is_named_with_how_much_was_seen() {
    let attempts = |seen| {
        Finding::NoAnswer(flow(
            here("checkout.service", seen, seen),
            "203.0.113.40:443",
            &[(Class::SynSent, 14_074)],
            15_000,
        ))
    };
    assert_eq!(
        said(&attempts(81)),
        "checkout.service to 203.0.113.40:443/tcp gets no answer, 93% of the entries \
         (81 of 14074 attempts seen at a socket, all of checkout.service)"
    );
    assert_eq!(
        said(&attempts(14_000)),
        "checkout.service to 203.0.113.40:443/tcp gets no answer, 93% of the entries"
    );
    assert!(
        advised(&attempts(81))
            .fix
            .unwrap()
            .contains("systemctl stop checkout.service ends the retries")
    );
}

#[test]
fn no_command_ends_a_service_by_which_the_reader_gets_in() {
    let fix = |unit| {
        let finding = Finding::KeptOpen(flow(
            here(unit, 500, 500),
            "10.0.3.9:5672",
            &[(Class::Established, 900)],
            1000,
        ));
        advised(&finding).fix.unwrap()
    };
    for unit in [
        "ssh.service",
        "sshd@3.service",
        "nagios-nrpe-server.service",
        "icinga2.service",
        "check-mk-agent@1.service",
        "zabbix-agent2.service",
        "systemd-networkd.service",
    ] {
        assert!(fix(unit).starts_with("restarting ruby[812] "), "{unit}");
    }
    assert!(
        fix(r"app\x2dworker.service").starts_with(r"systemctl restart app\\x2dworker.service "),
        "a shell takes one backslash away"
    );
}

#[test]
fn commands_for_another_network_namespace_lead_into_it() {
    let names = AddressNames::new();
    let of = |finding: &Finding| {
        let basis = AdviceContext {
            netns: Some(4_194_304),
            ..usual(&names)
        };
        advice(Some(finding), basis)
    };
    let inside = "nsenter -t 4194304 -n ";
    let syslog = |both_ways| Finding::OneWay {
        port: Port {
            number: 12_201,
            protocol: Protocol::UDP,
        },
        both_ways,
        share: Share::new(90, 100),
        peers: seen(2),
    };
    let fix = of(&syslog(false)).fix.unwrap();
    assert_eq!(
        fix,
        format!(
            "do not track it: {inside}iptables -t raw -I PREROUTING -p udp --dport 12201 -j CT --notrack; again with \
             OUTPUT (accept it without ct state first)"
        )
    );
    assert!(fix.len() <= 195, "{}", fix.len());
    // the limits are those of the whole host
    let now = of(&redis()).now.unwrap();
    assert!(
        now.starts_with("sysctl -w net.netfilter.nf_conntrack_max="),
        "{now}"
    );
}

#[test]
fn a_table_far_from_full_is_not_advised_a_larger_limit() {
    let names = AddressNames::new();
    let finding = Finding::NobodyStandsOut {
        endpoints: seen(339),
        ports: seen(5),
        largest: Share::new(6, 470),
        holder: None,
    };
    let of = |limit_is_near, capture| {
        let basis = AdviceContext {
            limit_is_near,
            relief: None,
            max: Some(5120),
            capture,
            ..usual(&names)
        };
        advice(Some(&finding), basis).fix
    };
    assert!(
        of(true, false)
            .unwrap()
            .starts_with("set net.netfilter.nf_conntrack_max=")
    );
    assert!(
        of(false, false)
            .unwrap()
            .contains("raise the range that was crossed")
    );
    assert_eq!(
        of(false, true),
        None,
        "a capture of a calm host needs no advice"
    );
}

#[test]
fn what_runs_without_a_unit_is_no_systemctl_command() {
    let mut actor = here("command ruby", 500, 500);
    if let Actor::Here { held, .. } = &mut actor {
        held.who.unit = None;
    }
    let finding = Finding::KeptOpen(flow(
        actor,
        "10.0.3.9:5672",
        &[(Class::Established, 900)],
        1000,
    ));
    assert_eq!(
        said(&finding),
        "command ruby keeps 900 connections to 10.0.3.9:5672/tcp open, 90% of the entries"
    );
    let fix = advised(&finding).fix.unwrap();
    assert!(fix.starts_with("restarting ruby[812] frees them"), "{fix}");
}

fn scan(traffic: Traffic, actor: Actor, target: ScanTarget) -> Finding {
    Finding::Scan(Sweep {
        traffic,
        actor,
        target,
        candidates: Vec::new(),
        split: split(&[(Class::SynSent, 930)]),
        share: Share::new(930, 1000),
    })
}

#[test]
fn a_scan_says_its_direction_first() {
    let port = Port {
        number: 23,
        protocol: Protocol::TCP,
    };
    let address = "198.51.100.7".parse().unwrap();
    for (finding, expected) in [
        (
            scan(
                Traffic::Output,
                here("nginx.service", 900, 900),
                ScanTarget::PortsOf(address, seen(14_000)),
            ),
            "scan going out: nginx.service tries 14000 ports of 198.51.100.7, 93% of the entries",
        ),
        (
            scan(
                Traffic::Output,
                Actor::ThisHost,
                ScanTarget::Addresses(
                    port,
                    Distinct {
                        seen: 14_000,
                        at_least: true,
                    },
                ),
            ),
            "scan going out: this host tries port 23/tcp of over 14000 addresses, 93% of the entries",
        ),
        (
            scan(
                Traffic::Input,
                client("198.51.100.9"),
                ScanTarget::PortsHere(seen(4000)),
            ),
            "scan coming in: 198.51.100.9 tries 4000 ports of this host, 93% of the entries",
        ),
    ] {
        assert_eq!(said(&finding), expected);
    }
    assert!(
        advised(&scan(
            Traffic::Output,
            here("nginx.service", 900, 900),
            ScanTarget::PortsOf(address, seen(9))
        ))
        .look
        .unwrap()
        .starts_with("systemctl status 812")
    );
}

#[test]
fn a_crowd_and_a_flood_name_the_service_and_not_the_clients() {
    let crowd = |flood| {
        Finding::Crowd(Crowd {
            service: PairEnd::Service(Port {
                number: 443,
                protocol: Protocol::TCP,
            }),
            owner: Some(who("nginx.service", 4, 900)),
            clients: seen(3900),
            networks: false,
            largest: Share::new(6, 1000),
            split: split(&[(Class::SynRecv, 900)]),
            share: Share::new(900, 1000),
            flood,
        })
    };
    assert_eq!(
        said(&crowd(false)),
        "3900 clients of :443/tcp of this host (nginx.service) hold 90% of the entries, none above 0.6%"
    );
    assert_eq!(
        said(&crowd(true)),
        "flood against :443/tcp of this host (nginx.service): 90% of the entries half open or unanswered, 3900 clients, \
         none above 0.6%"
    );
    assert!(advised(&crowd(true)).why.unwrap().contains("may be forged"));
}

#[test]
fn one_client_is_limited_at_one_port_and_never_at_the_ports_of_the_reader() {
    let held = |number| Flow {
        actor: client("198.51.100.9"),
        to: PairEnd::Service(Port {
            number,
            protocol: Protocol::TCP,
        }),
        split: split(&[(Class::TimeWait, 800)]),
        share: Share::new(800, 1000),
    };
    let finding = Finding::OneClient(held(8080));
    assert_eq!(
        said(&finding),
        "198.51.100.9 holds 80% of the entries, to :8080/tcp of this host"
    );
    let fix = advised(&finding).fix.unwrap();
    assert!(
        fix.starts_with("nft add table ip lim") && fix.contains("dport 8080"),
        "{fix}"
    );
    for port in [22, 5666] {
        let fix = advised(&Finding::OneClient(held(port))).fix.unwrap();
        assert!(!fix.contains("nft"), "{fix}");
    }
}

#[test]
fn a_limit_that_is_not_the_configured_one_names_the_file_and_both_values() {
    let finding = Finding::NotConfigured(Configured {
        setting: Setting::Max,
        file: "/etc/sysctl.d/90-conntrack.conf".to_owned(),
        value: 262_144,
        live: 8192,
    });
    assert_eq!(
        said(&finding),
        "the limit is 8192, but /etc/sysctl.d/90-conntrack.conf sets 262144"
    );
    assert_eq!(
        advised(&finding).now.as_deref(),
        Some("sysctl -w net.netfilter.nf_conntrack_max=262144 (the configured value, up to 98 MB)")
    );
}

#[test]
fn used_up_source_ports_are_not_cured_by_a_larger_table() {
    let finding = Finding::PortsUsedUp(PortUse {
        source: "203.0.113.1".parse().unwrap(),
        far: "198.51.100.5".parse().unwrap(),
        port: Port {
            number: 443,
            protocol: Protocol::TCP,
        },
        used: Share::new(64_000, 64_512),
        translated: true,
    });
    assert_eq!(
        said(&finding),
        "connections translated to 203.0.113.1 to 198.51.100.5:443/tcp use 64000 of 64512 source ports"
    );
    let advice = advised(&finding);
    assert!(
        advice
            .why
            .unwrap()
            .ends_with("a bigger table does not help")
    );
    assert_eq!(advice.now, None);
}

/// One of each finding, with long names.
fn every_finding() -> Vec<Finding> {
    let unit = "a-service-with-a-very-long-name-that-somebody-chose@instance.service";
    let far = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    let long = |classes: &[(Class, u64)]| flow(here(unit, 81, 90), far, classes, 4_000_000_000);
    let port = Port {
        number: 65_535,
        protocol: Protocol::UDP,
    };
    let many = Distinct {
        seen: 4_000_000,
        at_least: true,
    };
    let share = Share::new(3_999_999_999, 4_000_000_000);
    let n = 3_999_999_999;
    vec![
        Finding::LongChains {
            buckets: 512,
            wanted: 1 << 30,
            count: Some(u32::MAX),
        },
        Finding::PortsUsedUp(PortUse {
            source: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
            far: "2001:db8:1111:2222:3333:4444:5555:7777".parse().unwrap(),
            port,
            used: share,
            translated: true,
        }),
        Finding::NotConfigured(Configured {
            setting: Setting::Buckets,
            file: "../a/very/long/path/of/sixty/four/characters/in/etc/sysctl.conf".to_owned(),
            value: u64::MAX,
            live: u64::MAX,
        }),
        Finding::NoAnswer(long(&[(Class::SynSent, n)])),
        Finding::OneWay {
            port,
            peers: many,
            both_ways: true,
            share,
        },
        scan(
            Traffic::Output,
            here(unit, 5, 5),
            ScanTarget::Everything(many),
        ),
        scan(
            Traffic::Forward,
            client("2001:db8:1111:2222:3333:4444:5555:6666"),
            ScanTarget::Everything(many),
        ),
        Finding::Crowd(Crowd {
            service: PairEnd::Remote(to(far)),
            owner: Some(who(unit, 4, 900)),
            clients: many,
            networks: true,
            largest: share,
            split: split(&[(Class::SynRecv, n)]),
            share,
            flood: true,
        }),
        Finding::NotReused(long(&[(Class::TimeWait, n)])),
        Finding::KeptOpen(long(&[(Class::Established, n)])),
        Finding::OneClient(Flow {
            actor: client("2001:db8:1111:2222:3333:4444:5555:6666"),
            to: PairEnd::Service(port),
            split: split(&[(Class::Udp, n)]),
            share,
        }),
        Finding::NotClosed(long(&[(Class::CloseWait, n)])),
        Finding::PeersVanished { share },
        Finding::Dns {
            actor: here(unit, 1, 1),
            resolver: Some(to(far)),
            traffic: Traffic::Output,
            far: many,
            share,
        },
        Finding::OneSided {
            service: Some(PairEnd::Remote(to(far))),
            share,
        },
        Finding::CountDisagrees(Listed {
            listed: 4,
            count: 263,
        }),
        Finding::ManyFarEnds(FarEnds {
            actor: here(unit, 81, 90),
            traffic: Traffic::Output,
            port: Some((port, many)),
            split: split(&[(Class::TimeWait, n)]),
            share,
            largest: share,
        }),
        Finding::ManyFarEnds(FarEnds {
            actor: Actor::ThisHost,
            traffic: Traffic::Forward,
            port: None,
            split: Split::default(),
            share,
            largest: share,
        }),
        Finding::NobodyStandsOut {
            endpoints: many,
            ports: many,
            largest: share,
            holder: None,
        },
        Finding::NobodyStandsOut {
            endpoints: many,
            ports: many,
            largest: share,
            holder: Some((Some(here(unit, 81, 90)), to(far))),
        },
    ]
}

#[test]
fn every_line_is_short_and_plain() {
    for finding in every_finding() {
        let whole = said(&finding);
        assert!(whole.len() <= 300, "{} {whole}", whole.len());
        let brief = sentence(&finding, &AddressNames::new(), 0);
        assert!(brief.len() <= 210, "{} {brief}", brief.len());
        let advice = advised(&finding);
        for line in [&advice.why, &advice.now, &advice.fix, &advice.look] {
            let line = line.clone().unwrap_or_default();
            assert!(line.len() <= 195, "{} {line}", line.len());
            assert!(
                !line.contains(['|', '&', '$', '\'', '"', '<', '>', '`', '~']),
                "{line}"
            );
        }
        assert!(!whole.contains([';', '|']), "{whole}");
        assert!(advice.why.is_some(), "{finding:?}");
        assert!(advice.fix.is_some(), "{finding:?}");
    }
}

#[test]
fn a_capture_has_no_command_for_this_host() {
    let names = AddressNames::new();
    let advice = advice(
        Some(&redis()),
        AdviceContext {
            timeouts: Timeouts::default(),
            max: None,
            capture: true,
            ..usual(&names)
        },
    );
    assert_eq!((advice.now, advice.look), (None, None));
    assert!(
        advice
            .why
            .unwrap()
            .contains("keeps its entry for 2 minutes by default")
    );
}

#[test]
fn without_a_finding_the_larger_limit_still_buys_time() {
    let names = AddressNames::new();
    let basis = AdviceContext {
        timeouts: Timeouts::default(),
        relief: Some(Relief {
            buckets: Some(32_768),
            lasts: None,
            ..relief()
        }),
        ..usual(&names)
    };
    assert_eq!(
        advice(None, basis).now.as_deref(),
        Some(
            "sysctl -w net.netfilter.nf_conntrack_max=32768 net.netfilter.nf_conntrack_buckets=32768 \
             (room for 25173 more entries, up to 10 MB)"
        )
    );
}
