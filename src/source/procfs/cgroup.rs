//! The systemd unit or the container of a process, by its cgroup path (cgroups(7)).

/// Hexadecimal digits of a container's id, and how many of them people use.
const ID: usize = 64;
const SHORT_ID: usize = 12;

/// The systemd unit or the container of a process by its cgroup (cgroups(7)): in the unified hierarchy, else in the one
/// that systemd keeps for itself under version 1.
///
/// It is the innermost directory named like a service, a scope or a container: services of users and of containers stand
/// inside others. A login session and the init process's own scope tell less than the command, and count as none, but
/// the container that they are in is told.
pub(super) fn parse_unit(cgroup: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cgroup);
    let path = |wanted: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (controllers == wanted).then_some(path)
        })
    };
    ["", "name=systemd"]
        .into_iter()
        .filter_map(path)
        .find_map(innermost)
        .flatten()
}

/// None where there is no unit and no container; the inner none where they tell nothing.
fn innermost(path: &str) -> Option<Option<String>> {
    // the kernel marks the group of a process that outlived it
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut passed_a_unit = false;
    for name in path.rsplit('/') {
        // systemd escapes names that would look like the kernel's files (`cg_escape`)
        let name = name.strip_prefix('_').unwrap_or(name);
        if let Some(container) = container(name) {
            return Some(Some(container));
        }
        if is_unit(name) && !passed_a_unit {
            if !tells_nothing(name) {
                return Some(Some(name.to_owned()));
            }
            passed_a_unit = true;
        }
    }
    passed_a_unit.then_some(None)
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope"].iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|stem| !stem.is_empty())
    })
}

/// A container by the name of its group, with as much of its id as `docker ps` shows: `docker-4f2ac1d2e3f4.scope` where
/// systemd made the group for docker, containerd, podman or cri-o, else `container 4f2ac1d2e3f4`.
fn container(name: &str) -> Option<String> {
    if let Some(name) = name.strip_prefix("lxc.payload.").filter(|n| !n.is_empty()) {
        return Some(format!("container {name}"));
    }
    let scope = name.strip_suffix(".scope");
    let (runtime, id) = match scope.unwrap_or(name).rsplit_once('-') {
        Some((runtime, id)) => (Some(runtime), id),
        None => (None, scope.unwrap_or(name)),
    };
    let is_id = id.len() == ID && id.bytes().all(|b| b.is_ascii_hexdigit());
    let short = id.get(..SHORT_ID).filter(|_| is_id)?;
    Some(match (scope, runtime) {
        (Some(_), Some(runtime)) => format!("{runtime}-{short}.scope"),
        _ => format!("container {short}"),
    })
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

    #[test]
    fn the_unit_is_the_innermost_service_or_scope() {
        let docker = format!("docker-{HEX}.scope");
        let containerd = format!("cri-containerd-{HEX}.scope");
        for (path, unit) in [
            ("/system.slice/sidekiq.service", Some("sidekiq.service")),
            (
                "/system.slice/sidekiq.service/worker-1",
                Some("sidekiq.service"),
            ),
            (
                "/system.slice/sidekiq.service (deleted)",
                Some("sidekiq.service"),
            ),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                Some("getty@tty1.service"),
            ),
            (
                "/system.slice/system-postgresql.slice/postgresql@17-main.service",
                Some("postgresql@17-main.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
                Some("foo.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-812.scope",
                Some("app-firefox-812.scope"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service",
                Some("user@1000.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                None,
            ),
            ("/user.slice/user-1000.slice/session-3.scope", None),
            ("/user.slice/user-1000.slice/session-c12.scope", None),
            (
                "/user.slice/user-1000.slice/session-manager.scope",
                Some("session-manager.scope"),
            ),
            (
                "/user.slice/user-1000.slice/session-c.scope",
                Some("session-c.scope"),
            ),
            ("/user.slice", None),
            ("/init.scope", None),
            ("/", None),
            ("", None),
            ("/system.slice/.service", None),
            ("/system.slice/.scope/x", None),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            (
                "/system.slice/dbus\\x2dbroker.service",
                Some("dbus\\x2dbroker.service"),
            ),
            (
                &format!("/system.slice/{docker}"),
                Some("docker-3f4e0a7d5c1b.scope"),
            ),
            (
                &format!("/system.slice/{docker}/init.scope"),
                Some("docker-3f4e0a7d5c1b.scope"),
            ),
            (
                &format!("/system.slice/{docker}/system.slice/nginx.service"),
                Some("nginx.service"),
            ),
            (&format!("/docker/{HEX}"), Some("container 3f4e0a7d5c1b")),
            (
                &format!("/docker/{HEX} (deleted)"),
                Some("container 3f4e0a7d5c1b"),
            ),
            (
                &format!("/kubepods/burstable/pod1f2e/{HEX}"),
                Some("container 3f4e0a7d5c1b"),
            ),
            (
                &format!("/libpod_parent/libpod-{HEX}"),
                Some("container 3f4e0a7d5c1b"),
            ),
            (
                &format!("/machine.slice/libpod-{HEX}.scope/container"),
                Some("libpod-3f4e0a7d5c1b.scope"),
            ),
            (
                &format!("/kubepods.slice/kubepods-pod1.slice/crio-{HEX}.scope"),
                Some("crio-3f4e0a7d5c1b.scope"),
            ),
            (&format!("/docker/{}", &HEX[1..]), None),
            (&format!("/docker/{}g", &HEX[1..]), None),
            (
                &format!("/system.slice/docker-{}.scope", &HEX[1..]),
                Some(&format!("docker-{}.scope", &HEX[1..])),
            ),
            ("/lxc.payload.web", Some("container web")),
            ("/lxc.payload.web/init.scope", Some("container web")),
            (
                "/lxc.payload.web/system.slice/nginx.service",
                Some("nginx.service"),
            ),
            ("/lxc.payload.", None),
            (
                &format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/{containerd}"
                ),
                Some("cri-containerd-3f4e0a7d5c1b.scope"),
            ),
            ("/../../system.slice/cron.service", Some("cron.service")),
            ("/a:b/c:d.service", Some("c:d.service")),
            (
                "/system.slice/x|evil=1;rm.service",
                Some("x|evil=1;rm.service"),
            ),
        ] {
            let unified = format!("0::{path}\n");
            assert_eq!(parse_unit(unified.as_bytes()).as_deref(), unit, "{path}");
            let legacy = format!("12:cpu,cpuacct:/other.service\n1:name=systemd:{path}\n0::/\n");
            assert_eq!(
                parse_unit(legacy.as_bytes()).as_deref(),
                unit,
                "version 1: {path}"
            );
        }
    }

    #[test]
    fn other_hierarchies_and_broken_lines_have_no_unit() {
        for text in [
            "4:memory:/system.slice/a.service\n",
            "2:name=elogind:/a.service\n",
            "0:/a.service\n",
            "a.service\n",
            "",
        ] {
            assert_eq!(parse_unit(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            parse_unit(b"nonsense\n0::/\xff\xfe/\x80.service\n").as_deref(),
            Some("\u{fffd}.service")
        );
    }

    proptest! {
        #[test]
        fn no_path_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_unit(&bytes);
        }
    }
}
