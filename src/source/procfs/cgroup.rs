//! The unit or the container of a process, by its cgroup path (cgroups(7)).
//!
//! A unit is the innermost directory of the path that is named like a service or a scope. A container is the innermost
//! directory that is named like one: by an id of 64 hexadecimal digits, or as LXC, systemd-nspawn and Incus name the
//! groups of theirs. A unit below a container is another machine's, and a unit of a user's service manager is another
//! unit than the system's of the same name.

use crate::model::cgroup::{Cgroup, Container, ContainerName, Name, Unit};
use crate::model::user::User;

/// Hexadecimal digits of a container's id.
const ID: usize = 64;

/// The group of a process by its file cgroup.
///
/// It is the one in the unified hierarchy, else the one that systemd keeps for itself under version 1. If neither has a
/// name, a container is looked for in the other hierarchies: not every host with containers has systemd.
pub(super) fn parse_cgroup(cgroup: &[u8]) -> Cgroup {
    let text = String::from_utf8_lossy(cgroup);
    let lines = || {
        text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
    };
    let of_hierarchy = |wanted: &str| lines().find(|(controllers, _)| *controllers == wanted);
    let main: Vec<Cgroup> = ["", "name=systemd"]
        .into_iter()
        .filter_map(of_hierarchy)
        .map(|(_, path)| parse_path(path))
        .collect();
    if let Some(named) = main.iter().find(|group| group.name != Name::Nothing) {
        return named.clone();
    }
    let container = lines()
        .map(|(_, path)| parse_path(path))
        .find(|group| matches!(group.name, Name::Container(_)));
    container
        .or_else(|| main.into_iter().next())
        .unwrap_or_default()
}

/// A unit and the end of the path of its group.
struct UnitPath {
    unit: Unit,
    end: usize,
}

/// The units and containers on the way down a path.
#[derive(Default)]
struct Descent {
    /// The innermost container, and the end of the path of its group.
    container: Option<(Container, usize)>,
    /// True if the path leads through the groups of Kubernetes.
    in_kubernetes: bool,
    /// The uid of the innermost pod, and the end of the path of its group.
    pod: Option<(String, usize)>,
    /// The innermost unit since the container.
    unit: Option<UnitPath>,
    /// The user whose service manager was entered since the container.
    manager: Option<User>,
}

/// The group with this path.
fn parse_path(path: &str) -> Cgroup {
    // the kernel marks the group of a process that outlived it
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut descent = Descent::default();
    let (mut end, mut parent) = (0, "");
    for directory in path.split('/') {
        end += directory.len();
        // systemd escapes names that would look like the kernel's files (`cg_escape`)
        let name = directory.strip_prefix('_').unwrap_or(directory);
        descent.enter(name, parent, end);
        (end, parent) = (end + 1, name);
    }
    descent.group(path)
}

impl Descent {
    /// Goes down into a directory, whose path ends at the byte `end`.
    fn enter(&mut self, name: &str, parent: &str, end: usize) {
        self.in_kubernetes |= name.contains("kubepods");
        if let Some(pod) = pod(name).filter(|_| self.in_kubernetes) {
            self.pod = Some((pod, end));
        }
        if let Some((name, runtime)) = container(name, parent) {
            let unit = self.unit.take().map(|found| found.unit);
            let manager = self.manager.take();
            let container = Container {
                name: Some(name),
                runtime,
                // a user inside another container is none of this host
                user: match self.container.take() {
                    Some((around, _)) => around.user,
                    None => manager,
                },
                // the service manager of a user is named by the user
                outside: unit.filter(|unit| manager_of(&unit.name).is_none()),
                ..Container::default()
            };
            self.container = Some((container, end));
        } else if is_unit(name) {
            self.unit = (!tells_nothing(name)).then(|| UnitPath {
                unit: Unit {
                    name: name.to_owned(),
                    user: self.manager.clone(),
                },
                end,
            });
            if let Some(uid) = manager_of(name) {
                self.manager = Some(User::unnamed(uid));
            }
        }
    }

    /// The group that the whole way led to.
    fn group(self, path: &str) -> Cgroup {
        let cut = |end: usize| path.get(..end).unwrap_or(path).to_owned();
        let pod = self.pod;
        match (self.container, self.unit) {
            (Some((container, end)), unit) => {
                let end = unit.as_ref().map_or(end, |found| found.end);
                Cgroup {
                    path: cut(end),
                    name: Name::Container(Box::new(Container {
                        pod: pod.map(|(pod, _)| pod),
                        inside: unit.map(|found| found.unit),
                        ..container
                    })),
                }
            }
            (None, unit) => match (pod, unit) {
                (Some((pod, end)), _) => Cgroup {
                    path: cut(end),
                    name: Name::Container(Box::new(Container {
                        pod: Some(pod),
                        ..Container::default()
                    })),
                },
                (None, Some(UnitPath { unit, end })) => Cgroup {
                    path: cut(end),
                    name: Name::Unit(unit),
                },
                (None, None) => Cgroup {
                    path: path.to_owned(),
                    name: Name::Nothing,
                },
            },
        }
    }
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope"].iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|stem| !stem.is_empty())
    })
}

/// The user of a user's service manager: `user@1000.service`.
fn manager_of(unit: &str) -> Option<u32> {
    let uid = unit.strip_prefix("user@")?.strip_suffix(".service")?;
    uid.parse().ok()
}

/// The container that has a directory of this name, and the prefix of its runtime.
fn container(name: &str, parent: &str) -> Option<(ContainerName, Option<String>)> {
    container_by_id(name)
        .or_else(|| given_name(name, parent).map(|name| (ContainerName::Given(name), None)))
}

/// `docker-ID.scope` if systemd made the group, `ID` or `libpod-ID` if it did not, `kubepods-podUID.slice:docker:ID` if
/// the runtime took a group for systemd's that is none.
fn container_by_id(name: &str) -> Option<(ContainerName, Option<String>)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (before, id) = match name.rsplit_once([':', '-']) {
        Some((before, id)) => (Some(before), id),
        None => (None, name),
    };
    let is_id = id.len() == ID && id.bytes().all(|b| b.is_ascii_hexdigit());
    let runtime = before.and_then(|before| before.rsplit(':').next());
    let runtime = runtime.map(|name| name.strip_suffix("-payload").unwrap_or(name));
    is_id.then(|| (ContainerName::Id(id.to_owned()), runtime.map(str::to_owned)))
}

/// The name in the groups of LXC (`lxc.payload.NAME`, `lxc.payload/NAME`, `lxc/NAME`), systemd-nspawn
/// (`systemd-nspawn@NAME.service`, `machine-NAME.scope`) and Incus (`incus-NAME.scope`).
fn given_name(name: &str, parent: &str) -> Option<String> {
    let of_unit = |prefix: &str, suffix: &str| {
        let name = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        Some(unescaped(name))
    };
    let given = if matches!(parent, "lxc" | "lxc.payload") {
        Some(name.to_owned())
    } else {
        name.strip_prefix("lxc.payload.")
            .map(str::to_owned)
            .or_else(|| of_unit("systemd-nspawn@", ".service"))
            // libvirt registers its virtual machines too
            .or_else(|| of_unit("machine-", ".scope").filter(|name| !name.starts_with("qemu-")))
            .or_else(|| of_unit("incus-", ".scope"))
    };
    given.filter(|name| !name.is_empty())
}

/// Undoes systemd's escapes of single bytes: `\x2d` is a hyphen (systemd.unit(5)).
fn unescaped(name: &str) -> String {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        plain.extend_from_slice(before.as_bytes());
        let byte = after
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    plain.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&plain).into_owned()
}

/// The uid of a Kubernetes pod: `kubepods-burstable-podUID.slice`, in which underscores stand for hyphens, or `podUID`.
fn pod(name: &str) -> Option<String> {
    let name = name.split(':').next().unwrap_or_default();
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let is_uid = uid
        .bytes()
        .all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'_'));
    (is_uid && !uid.is_empty()).then(|| uid.replace('_', "-"))
}

/// `init.scope`, and login sessions: `session-3.scope`, `session-c1.scope`.
fn tells_nothing(unit: &str) -> bool {
    let session = || {
        let number = unit.strip_prefix("session-")?.strip_suffix(".scope")?;
        let number = number.strip_prefix('c').unwrap_or(number);
        Some(!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    unit == "init.scope" || session().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "3f4e0a7d5c1b29886b7a6c5d4e3f20113f4e0a7d5c1b29886b7a6c5d4e3f2011";

    /// The name of the group with this path, in words.
    fn name(path: &str) -> Option<String> {
        parse_path(path).name.with(&[])
    }

    #[test]
    fn the_unit_is_the_innermost_service_or_scope() {
        for (path, unit) in [
            ("/system.slice/sidekiq.service", "sidekiq.service"),
            ("/system.slice/sidekiq.service/worker-1", "sidekiq.service"),
            ("/system.slice/sidekiq.service (deleted)", "sidekiq.service"),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                "getty@tty1.service",
            ),
            (
                "/user.slice/user-1000.slice/session-c.scope",
                "session-c.scope",
            ),
            (
                "/user.slice/user-1000.slice/session-manager.scope",
                "session-manager.scope",
            ),
            ("/system.slice/_cpu.service", "cpu.service"),
            (
                "/system.slice/dbus\\x2dbroker.service",
                "dbus\\x2dbroker.service",
            ),
            // a virtual machine is no container
            (
                "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/vcpu0",
                "machine-qemu\\x2d1\\x2dweb.scope",
            ),
            ("/../../system.slice/cron.service", "cron.service"),
            ("/a:b/c:d.service", "c:d.service"),
            ("/system.slice/x|evil=1;rm.service", "xevil=1rm.service"),
            // the id is a digit too short, or has a letter too many
            (
                &format!("/system.slice/docker-{}.scope", &HEX[1..]),
                &format!("docker-{}", &HEX[1..58]),
            ),
        ] {
            assert_eq!(name(path).as_deref(), Some(unit), "{path}");
        }
    }

    #[test]
    fn sessions_the_init_process_and_slices_have_no_name() {
        for path in [
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            "/user.slice/user-1000.slice/session-3.scope",
            "/user.slice/user-1000.slice/session-c12.scope",
            "/user.slice",
            "/init.scope",
            "/",
            "",
            "/system.slice/.service",
            "/system.slice/.scope/x",
            "/lxc.payload.",
            "/lxc",
            "/podface",
            &format!("/docker/{}", &HEX[1..]),
            &format!("/docker/{}g", &HEX[1..]),
        ] {
            let group = parse_path(path);
            assert_eq!((group.name, &*group.path), (Name::Nothing, path));
        }
    }

    #[test]
    fn a_unit_of_a_user_is_named_with_the_user() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        for (path, unit) in [
            ("", "user@1000.service"),
            ("/app.slice/foo.service", "foo.service (uid 1000)"),
            (
                "/app.slice/app-firefox-812.scope",
                "app-firefox-812.scope (uid 1000)",
            ),
            (
                &format!("/user.slice/libpod-{HEX}.scope/container"),
                "container 3f4e0a7d5c1b (uid 1000)",
            ),
            (
                &format!("/app.slice/web.service/libpod-payload-{HEX}"),
                "container 3f4e0a7d5c1b (web.service, uid 1000)",
            ),
        ] {
            let path = format!("{manager}{path}");
            assert_eq!(name(&path).as_deref(), Some(unit), "{path}");
            let group = parse_path(&path);
            assert_eq!(group.name.user(), (unit.contains("uid")).then_some(1000));
        }
    }

    #[test]
    fn containers_are_known_by_their_id() {
        let cri = format!("cri-containerd-{HEX}.scope");
        for (path, container) in [
            (format!("/docker/{HEX}"), "container 3f4e0a7d5c1b"),
            (format!("/docker/{HEX} (deleted)"), "container 3f4e0a7d5c1b"),
            (
                format!("/system.slice/docker-{HEX}.scope/init.scope"),
                "container 3f4e0a7d5c1b",
            ),
            (
                format!("/system.slice/docker-{HEX}.scope/system.slice/nginx.service"),
                "container 3f4e0a7d5c1b, nginx.service",
            ),
            (
                format!("/kubepods/burstable/pod1f2e/{HEX}"),
                "container 3f4e0a7d5c1b (pod 1f2e)",
            ),
            (
                format!("/kubepods.slice/kubepods-pod1.slice/crio-{HEX}.scope"),
                "container 3f4e0a7d5c1b (pod 1)",
            ),
            (
                format!("/kubepods.slice/kubepods-burstable-pod1_2.slice/{cri}"),
                "container 3f4e0a7d5c1b (pod 1-2)",
            ),
            (
                format!(
                    "/docker/{}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod7.slice/{cri}",
                    "0".repeat(64)
                ),
                "container 3f4e0a7d5c1b (pod 7)",
            ),
            ("/kubepods/burstable/pod1f2e/kata".to_owned(), "pod 1f2e"),
            (
                format!("/libpod_parent/libpod-{HEX}"),
                "container 3f4e0a7d5c1b",
            ),
            (
                format!("/machine.slice/libpod-{HEX}.scope/container"),
                "container 3f4e0a7d5c1b",
            ),
            (
                "/lxc/101/ns/user.slice/user-7.slice/user@7.service/app.slice/a.service".to_owned(),
                "container 101, a.service (uid 7)",
            ),
            (
                format!("/lxc/101/ns/docker/{HEX}"),
                "container 3f4e0a7d5c1b",
            ),
            ("/lxc.payload/web01".to_owned(), "container web01"),
            (
                "/machine.slice/machine-my\\x2dweb.scope/payload".to_owned(),
                "container my-web",
            ),
        ] {
            assert_eq!(name(&path).as_deref(), Some(container), "{path}");
        }
    }

    #[test]
    fn the_runtime_of_a_container_is_the_prefix_of_its_group() {
        for (directory, runtime) in [
            (format!("docker-{HEX}.scope"), Some("docker")),
            (format!("libpod-payload-{HEX}"), Some("libpod")),
            (
                format!("x.slice:cri-containerd:{HEX}"),
                Some("cri-containerd"),
            ),
            (HEX.to_owned(), None),
        ] {
            let Name::Container(container) = parse_path(&format!("/a/{directory}")).name else {
                panic!("{directory}")
            };
            assert_eq!(container.name, Some(ContainerName::Id(HEX.to_owned())));
            assert_eq!(container.runtime.as_deref(), runtime, "{directory}");
        }
    }

    #[test]
    fn a_user_inside_a_container_is_none_of_this_host() {
        let inside = format!("/lxc/101/ns/user@7.service/user.slice/libpod-{HEX}.scope");
        assert_eq!(parse_path(&inside).name.user(), None);
        let outside = format!("/user@7.service/user.slice/libpod-{HEX}.scope");
        assert_eq!(parse_path(&outside).name.user(), Some(7));
    }

    #[test]
    fn the_path_ends_with_the_directory_that_has_the_name() {
        for (path, end) in [
            ("/system.slice/a.service/b/c", "/system.slice/a.service"),
            ("/system.slice/_a.service/b", "/system.slice/_a.service"),
            ("/lxc/101/ns/init.scope", "/lxc/101"),
            (
                "/lxc/101/ns/system.slice/a.service/b",
                "/lxc/101/ns/system.slice/a.service",
            ),
            ("/kubepods/pod1/kata", "/kubepods/pod1"),
            ("/user.slice/session-3.scope", "/user.slice/session-3.scope"),
        ] {
            assert_eq!(parse_path(path).path, end);
        }
    }

    #[test]
    fn systemds_hierarchies_come_before_others_which_have_no_units() {
        let name = |text: &str| parse_cgroup(text.as_bytes()).name.with(&[]);
        for (text, expected) in [
            ("0::/a.service\n", Some("a.service")),
            (
                "12:cpu,cpuacct:/other.service\n1:name=systemd:/a.service\n0::/\n",
                Some("a.service"),
            ),
            (
                "1:name=systemd:/a.service\n0::/b.service\n",
                Some("b.service"),
            ),
            // without systemd
            (
                "11:memory:/lxc/web\n1:name=openrc:/docker\n",
                Some("container web"),
            ),
            ("4:memory:/system.slice/a.service\n", None),
            ("2:name=elogind:/a.service\n", None),
            ("0:/a.service\n", None),
            ("a.service\n", None),
            ("", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
        let group = parse_cgroup(b"nonsense\n0::/\xff\xfe/\x80.service\n");
        assert_eq!(group.name.with(&[]).as_deref(), Some("?.service"));
    }

    #[test]
    fn only_the_init_process_of_this_host_manages_services() {
        for (text, is_manager) in [
            ("0::/init.scope\n", true),
            ("0::/user.slice/user@7.service/init.scope\n", true),
            ("0::/lxc/101/ns/init.scope\n", false),
            ("0::/system.slice/a.service\n", false),
            ("0::/\n", false),
        ] {
            assert_eq!(
                parse_cgroup(text.as_bytes()).is_service_manager(),
                is_manager,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_path_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_cgroup(&bytes).name.with(&[]);
        }

        #[test]
        fn no_arrangement_of_known_directories_is_too_strange(
            directories in proptest::collection::vec(prop::sample::select(vec![
                "lxc", "lxc.payload", "lxc.payload.a", "a.service", "user@7.service", "init.scope", "kubepods",
                "pod1", "kubepods-pod1.slice", HEX, "machine-\\x2.scope", "\\x\\xff.scope", "x:y", "", "_",
            ]), 0..9)
        ) {
            let path = directories.join("/");
            let group = parse_path(&path);
            prop_assert!(path.starts_with(&group.path));
            prop_assert_eq!(group.name == Name::Nothing, group.name.with(&[]).is_none());
        }
    }
}
