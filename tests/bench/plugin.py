"""The check in Python, on the library that the crate in src/report/mod.rs is named after: what startup times beside ours."""

import nagiosplugin


class Conntrack(nagiosplugin.Resource):
    """Entries and limit, as a percentage."""

    def probe(self):
        folder = "/proc/sys/net/netfilter/nf_conntrack_"
        count, limit = (int(open(folder + name).read()) for name in ("count", "max"))
        yield nagiosplugin.Metric("usage", 100.0 * count / limit, uom="%", min=0, max=100)
        yield nagiosplugin.Metric("entries", count, min=0, max=limit)


@nagiosplugin.guarded
def main():
    check = nagiosplugin.Check(
        Conntrack(),
        nagiosplugin.ScalarContext("usage", "80", "90"),
        nagiosplugin.ScalarContext("entries"),
    )
    check.main()


main()
