"""The expected state and performance data of a check: docs/options-and-metrics.md and docs/output.md as arithmetic.

A host stands for the kernel's files. `verdict` judges it by the thresholds, and compares it with the previous run.
"""

from fractions import Fraction

from ranges import INFINITE, Bound, Range, Refused, tenths

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
GRAVITY = {OK: 0, UNKNOWN: 1, WARNING: 2, CRITICAL: 3}

COUNTERS = ["drop", "chaintoolong", "early_drop", "insert_failed"]
CLASSES = ["established", "time_wait", "syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "close", "udp",
           "icmp", "other"]
TABLE = ["endpoint", "unreplied", "evictable"] + CLASSES
METRICS = ["usage", "entries", "free", "chain", "lost"] + COUNTERS + ["growth", "full_in"] + TABLE

IN_PERCENT = {"usage", "entries", "free", "growth", *TABLE}
FULLNESS = ["usage", "entries", "free"]
OF_PREVIOUS_RUN = {"lost", "growth", "full_in", *COUNTERS}

SOONEST = 500  # hundredths of a second: a run that follows sooner than this is a repetition
MOST_PERFDATA = 700


def threshold(text):
    """[METRIC=]RANGE as one option has it: the metric and the range."""
    name, equals, body = text.partition("=")
    metric, body = (name, body) if equals else ("usage", text)
    if metric not in METRICS:
        raise Refused("unknown metric")
    if not body:
        raise Refused("empty")
    suffix = "%" if metric in IN_PERCENT else "time" if metric == "full_in" else None
    range_ = Range(body, suffix, percent_is_plain=metric == "usage")
    if metric == "usage":
        for end in (range_.start, range_.end):
            if end.value != INFINITE and end.value > 100:
                raise Refused("more than 100 percent")
    return metric, range_


def thresholds(options):
    """Options as pairs of severity and text to the ranges of each severity. One text that is refused refuses all."""
    given = {WARNING: {}, CRITICAL: {}}
    for severity, text in options:
        metric, range_ = threshold(text)
        if metric in given[severity]:
            raise Refused("given twice")
        given[severity][metric] = range_
    return given


def with_defaults(given, chains_are_limited):
    """Adds the defaults of usage and chain if no range of their group was given."""
    ranges = {severity: dict(given[severity]) for severity in given}
    named = set(given[WARNING]) | set(given[CRITICAL])
    if not named & set(FULLNESS):
        ranges[WARNING]["usage"], ranges[CRITICAL]["usage"] = Range("80"), Range("90")
    if "chain" not in named and chains_are_limited:
        ranges[WARNING]["chain"], ranges[CRITICAL]["chain"] = Range("15"), Range("30")
    return ranges


class Host:
    """The contents of the kernel's files. None stands for a missing file."""

    def __init__(self, count, limit, buckets, rows, chains_are_limited=True, boot="", uptime=None):
        self.count = count  # nf_conntrack_count
        self.limit = limit  # nf_conntrack_max
        self.buckets = buckets  # nf_conntrack_buckets
        self.rows = rows  # the counters of each CPU, in the order of COUNTERS
        self.chains_are_limited = chains_are_limited  # the statistics have a column for it, from 5.15 on
        self.boot = boot
        self.uptime = uptime  # in hundredths of a second

    def limited(self):
        """nf_conntrack_max, or None if it sets no limit."""
        return self.limit if self.limit is not None and self.limit > 0 else None

    def totals(self):
        """Each counter that the kernel has, over all CPUs."""
        if self.rows is None:
            return {}
        sums = {name: sum(row[i] for row in self.rows) for i, name in enumerate(COUNTERS)}
        if not self.chains_are_limited:
            del sums["chaintoolong"]
        return sums


def increases(before, now):
    """The increase of each counter between two runs, or None if they cannot be compared.

    A counter has 32 bits on each CPU. A counter that fell has wrapped if that is the shorter way, else all counters
    were reset. They were also reset if counters of several CPUs fell and none that had counted kept its number or rose.
    """
    if before.rows is None or now.rows is None or len(before.rows) != len(now.rows):
        return None
    fell = [any(y < x for x, y in zip(old, new)) for old, new in zip(before.rows, now.rows)]
    kept = any(y >= x > 0 for old, new in zip(before.rows, now.rows) for x, y in zip(old, new))
    if sum(fell) > 1 and not kept:
        return None
    rise = dict.fromkeys(COUNTERS, 0)
    for old, new in zip(before.rows, now.rows):
        for i, name in enumerate(COUNTERS):
            step = (new[i] - old[i]) % 2**32
            if new[i] < old[i] and step >= 2**31:
                return None
            rise[name] += step
    return rise


class History:
    """The last run and the run before it, as the state file keeps them."""

    def __init__(self):
        self.last = self.before = None

    def compared_with(self, now):
        """Returns the run to compare with, None for a first run. Keeps this run unless it is a repetition."""
        last = self.last
        if last is None or last.boot != now.boot or last.uptime > now.uptime or not comparable(last, now):
            self.last, self.before = now, None
            return None
        if now.uptime - last.uptime < SOONEST:
            return self.before or last
        self.last, self.before = now, last
        return last


def comparable(before, now):
    """False if the counters were reset or the number of CPUs changed."""
    return (before.rows is None) == (now.rows is None) and (before.rows is None or increases(before, now) is not None)


class Expected:
    """The expected answer: the state and the performance data."""

    def __init__(self, state, perfdata):
        self.state = state
        self.perfdata = perfdata


def measured(host, previous, remembered):
    """The value of each metric that can be measured. An infinite value is INFINITE.

    `previous` is the run before, `remembered` is False without a directory for the state.
    """
    values, limit = {}, host.limited()
    if host.count is not None:
        values["entries"] = Fraction(host.count)
        if limit is not None:
            values["usage"] = Fraction(host.count * 100, limit)
            values["free"] = Fraction(limit - host.count)
        if host.buckets is not None and host.buckets > 0:
            values["chain"] = Fraction(2 * host.count, host.buckets)
    if remembered and limit is not None and host.count is not None and host.count >= limit:
        values["full_in"] = Fraction(0)
    if previous is None:
        return values
    rise = increases(previous, host)
    if rise is not None:
        values.update({name: Fraction(rise[name]) for name in COUNTERS})
        values["lost"] = Fraction(rise["drop"] + rise["chaintoolong"])
    passed = Fraction(host.uptime - previous.uptime, 100)
    if passed * 100 >= SOONEST:
        growth = Fraction(host.count - previous.count) * 60 / passed
        values["growth"] = growth
        if limit is not None and "full_in" not in values:
            values["full_in"] = Fraction(limit - host.count) * 60 / growth if growth > 0 else INFINITE
    return values


def unlimited(host, metric):
    """True for a metric that cannot be exceeded because the kernel sets no limit."""
    return host.count is not None and host.limit is not None and host.limit <= 0 and metric in (
        "usage", "free", "full_in")


def verdict(host, given, previous=None, remembered=False, counts=None):
    """The right answer for a host, its thresholds and its previous run.

    `remembered` says that there is a directory for the state; a first run has one, and no previous run.
    `counts` are the classes of the entries of a capture, {} if too few of its lines were read to count any. The limit
    of a capture need not be known.
    """
    ranges = with_defaults(given, host.chains_are_limited)
    values, limit = measured(host, previous, remembered), host.limited()
    values.update({name: Fraction(count) for name, count in (counts or {}).items()})
    known = host.count is not None and host.limit is not None
    state = OK if known or counts is not None else UNKNOWN

    def worse(other):
        nonlocal state
        state = max(state, other, key=GRAVITY.get)

    filling = False
    for severity in (WARNING, CRITICAL):
        for metric, range_ in ranges[severity].items():
            if metric in values:
                if range_.alerts(values[metric], limit):
                    worse(severity)
                if severity == WARNING and metric in FULLNESS:
                    filling_up = range_.undercut if metric == "free" else range_.exceeded
                    filling = filling or filling_up(values[metric], limit)
            elif unlimited(host, metric) or metric not in given[severity]:
                pass  # never exceeded; or a default that could not be judged
            elif metric in OF_PREVIOUS_RUN and remembered and previous is None and (
                    metric in ("growth", "full_in") or host.rows is not None):
                pass  # a first run
            else:
                worse(UNKNOWN)
    no_range = not any("full_in" in given[severity] for severity in given)
    if no_range and filling and previous is not None:
        if values.get("full_in", INFINITE) < Fraction(host.uptime - previous.uptime, 100):
            worse(CRITICAL)
    return Expected(state, perfdata(host, ranges, values))


def perfdata(host, ranges, values):
    """The items of the performance data, in their order."""
    limit = host.limited()
    named = {metric for severity in ranges for metric in ranges[severity]}
    items = []

    def item(label, value, metric=None, low="", high="", whole=False, of=None):
        printed = [None, None]
        if metric:
            for i, severity in enumerate((WARNING, CRITICAL)):
                range_ = ranges[severity].get(metric)
                printed[i] = range_ and range_.printed(of, whole)
        items.append((label, value, printed, low, high))

    if "usage" in values:
        item("usage", tenths(values["usage"]) + "%", "usage", "0", "100")
    if "entries" in values:
        high = "" if limit is None else str(limit)
        if "entries" in named:
            item("entries", str(host.count), "entries", "0", high, whole=True, of=limit)
        else:
            items.append(("entries", str(host.count), usage_in_entries(ranges, limit), "0", high))
    if "chain" in values:
        item("chain", tenths(values["chain"]), "chain", "0")
    for name, total in host.totals().items():
        item(name, f"{total}c")
    if "lost" in values:
        item("lost", str(values["lost"]), "lost", "0", whole=True)
    if "growth" in values:
        item("growth", tenths(values["growth"]), "growth", of=limit)
    if values.get("full_in", INFINITE) != INFINITE:
        item("full_in", f"{int(values['full_in'])}s", "full_in", "0")
    for name in TABLE:
        if name in values:
            item(name, str(values[name]), name, whole=True, of=limit)
    if "ports" in values:
        item("ports", tenths(values["ports"]) + "%", "ports")
    return shortened(items)


def usage_in_entries(ranges, limit):
    """The ranges of usage as numbers of entries."""
    printed = [None, None]
    for i, severity in enumerate((WARNING, CRITICAL)):
        range_ = ranges[severity].get("usage")
        if range_ is None:
            continue
        copy = Range("0")
        copy.inside, copy.start, copy.end = range_.inside, in_percent(range_.start), in_percent(range_.end)
        printed[i] = copy.printed(limit, whole=True)
    return printed


def in_percent(end):
    """A bound of usage, which is percent of the limit; infinity is the same in every unit."""
    return Bound(end.value, abs(end.value) != INFINITE)


def shortened(items):
    """The text of the items. Above 700 bytes it has no true ranges, and if that is not enough no thresholds."""
    for kept in (lambda plain: True, lambda plain: plain, lambda plain: False):
        parts = []
        for label, value, printed, low, high in items:
            fields = [p[0] if p is not None and kept(p[1]) else "" for p in printed]
            parts.append(f"{label}={';'.join([value, *fields, low, high]).rstrip(';')}")
        text = " ".join(parts)
        if len(text) <= MOST_PERFDATA:
            break
    return text
