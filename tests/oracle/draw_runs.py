"""Draws hosts and thresholds, runs the check on them, and compares with verdict.py."""

from fractions import Fraction

import plugin
import verdict
from ranges import INFINITE, Refused, decimal
from verdict import COUNTERS, CRITICAL, IN_PERCENT, METRICS, UNKNOWN, WARNING, Host

NAMES = {WARNING: ("-w", "--warning"), CRITICAL: ("-c", "--critical")}
NETFILTER = "sys/net/netfilter/nf_conntrack_"
# the columns of the statistics before and from Linux 5.15
BEFORE_5_15 = "entries searched found new invalid ignore delete delete_list insert insert_failed drop early_drop " \
    "icmp_error expect_new expect_create expect_delete search_restart"
FROM_5_15 = BEFORE_5_15.replace("searched", "clashres").replace("delete_list", "chainlength")
COLUMN_OF = {**{name: name for name in COUNTERS}, "chaintoolong": "chainlength"}
MALFORMED = [
    "", "@", ":", "@:", "~", "@~", "~5", "~:~", "10:~", "-5", "20:10", "@20:10", "5:-5", "nan", "inf", "-inf",
    "1e3", "0x10", "1_000", "1,5", "\u0663", "\uff11", "1234567890123456789", "0.1234567890123456789", "80foo",
    "foo", "5:foo", " 5", "5 ", "+10", ".5", "5.", "1.2.3", "--5", "1:2:3", "10%%", "%", "%5", "@@5", "/root:80",
    "/home/ann:80", "10;20", "5-10", ">5", "=5", "5\n", "5h", "5s:", "1h30m:", "5%:", "-5%", "50%:40%", "101",
    "100.01:", "200%", "8 0", "\udcff", "80:\udce9", "10:20:", "::", "0.5.", "-", "-.5", "1e", "%:5",
]
CHARACTERS = "@~:%.-+eExX_, nasmh=/0123456789\u0663"


def number(random, value):
    """A decimal number as a user may type it, equal to `value`, which has a finite decimal form."""
    text = decimal(Fraction(value))
    form = random.random()
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if form < 0.08:
        digits = "0" * random.randint(1, 3) + digits
    elif form < 0.16:
        digits += ("" if "." in digits else ".") + "0" * random.randint(1, 3)
    elif form < 0.18 and value == 0:
        sign = "-"
    return sign + digits


def near(random, value):
    """A number with a finite decimal form at, just beside, or somewhere around a value."""
    if value == INFINITE:
        value = Fraction(random.choice([60, 3600, 86400, random.randint(0, 10**7)]))
    places = random.choice([0, 0, 0, 1, 2, 3, 6])
    here = Fraction(int(value * 10**places), 10**places)
    step = Fraction(1, 10**places)
    way = random.random()
    if way < 0.55:
        return here + random.choice([-1, 0, 0, 0, 1, 2]) * step
    if way < 0.8:
        return here + random.randint(-1000, 1000) * step
    if way < 0.9:
        return Fraction(random.randint(0, 10**random.randint(1, 9)))
    return -here


def range_text(random, metric, value, limit):
    """A range for a metric: well-formed, except that its start may be above its end, or a bound too large."""
    def one():
        if metric == "full_in" and random.random() < 0.5:
            unit, seconds = random.choice([("s", 1), ("m", 60), ("h", 3600)])
            return number(random, near(random, value / seconds)) + unit
        if metric == "usage":
            return number(random, near(random, value)) + random.choice(["", "", "%"])
        if metric in IN_PERCENT and limit and random.random() < 0.45:
            share = near(random, value * 100 / limit if value != INFINITE else Fraction(50))
            return number(random, share) + "%"
        return number(random, near(random, value))

    def low_and_high():
        ends = [one(), one()]
        if random.random() < 0.9:  # mostly in order, as numbers
            ends.sort(key=lambda text: Fraction(text.rstrip("%smh")))
        return ":".join(ends)

    form = random.choice([one, one, lambda: ":" + one(), lambda: one() + ":", lambda: "~:" + one(), low_and_high,
                          low_and_high, lambda: "~:", lambda: "0:" + one()])
    text = form()
    return "@" + text if random.random() < 0.25 else text


def damaged(random, text):
    """The text with one or two characters changed, which may leave it well-formed."""
    for _ in range(random.choice([1, 1, 2])):
        at = random.randint(0, len(text))
        how = random.randrange(3)
        new = random.choice(CHARACTERS) if how else ""
        text = text[:at] + new + text[at + (how != 1):]
    return text


def draw_host(random):
    """A host in any condition."""
    kind = random.random()
    if kind < 0.05:
        limit = random.choice([0, -1, -2147483648])
        count = random.randint(0, 10**random.randint(1, 9))
    else:
        limit = random.choice([random.randint(1, 20), random.choice([1000, 8192, 65536, 262144, 1000000, 2**31 - 1]),
                               random.randint(1, 2**31 - 1), random.randint(1, 10**6)])
        percent = random.choice([0, 50, 80, 80, 90, 90, 100, 100, random.randint(0, 130)])
        count = limit * percent // 100 + random.choice([0, 0, -1, 1, 2])
        count = min(max(count, 0), 2**31 - 1)
    buckets = random.choice([limit if limit > 0 else 1024, 65536, 512, random.randint(1, 10**6), max(1, count // 7),
                             max(1, 2 * count // 15), max(1, 2 * count // 30)])
    missing = random.random()
    if missing < 0.04:
        buckets = None
    rows = [[random.choice([0, 0, 5, random.randint(0, 2**30)]) for _ in COUNTERS] for _ in range(random.randint(1, 4))]
    if 0.04 < missing < 0.08:
        rows = None
    if 0.08 < missing < 0.1:
        count = -random.randint(1, 1000)  # the kernel's counter wrapped
    elif 0.1 < missing < 0.12:
        count = None
    elif 0.12 < missing < 0.14:
        limit = None
    limited = rows is None or random.random() < 0.85
    host = Host(count, limit, buckets, rows, limited, boot=f"{random.getrandbits(128):032x}",
                uptime=random.randint(100, 10**9))
    if not limited:
        for row in rows:
            row[COUNTERS.index("chaintoolong")] = 0
    return host


def files(random, host):
    """The proc root of a host."""
    found = {"sys/kernel/random/boot_id": f"{host.boot[:8]}-{host.boot[8:12]}-{host.boot[12:16]}-{host.boot[16:20]}"
             f"-{host.boot[20:]}\n",
             "uptime": f"{host.uptime // 100}.{host.uptime % 100:02} {random.randint(0, 10**6)}.00\n"}
    for name, value in (("count", host.count), ("max", host.limit), ("buckets", host.buckets)):
        if value is not None:
            found[NETFILTER + name] = f"{value}\n"
    if host.rows is not None:
        columns = (FROM_5_15 if host.chains_are_limited else BEFORE_5_15).split()
        if random.random() < 0.1:
            columns.insert(random.randint(1, len(columns)), "some_day")
        text = "  ".join([columns[0], " ".join(columns[1:])]) + "\n"
        for row in host.rows:
            value = {COLUMN_OF[name]: row[i] for i, name in enumerate(COUNTERS)}
            text += " ".join(f"{value.get(c, random.choice([0, 7])):08x}" for c in columns) + "\n"
        found["net/stat/nf_conntrack"] = text
    return found


def later(random, host):
    """The same host after some time."""
    passed = random.choice([500, 501, 700, 6000, 30000, 30000, 360000, 8640000, random.randint(500, 10**6)])
    moved = random.choice([0, 1, -1, random.randint(0, 100), random.randint(-10**5, 10**6)])
    if random.random() < 0.3 and host.limited():
        moved = host.limit - host.count + random.choice([0, -1, 1])
    count = min(max(host.count + moved, 0), 2**31 - 1)
    rows = host.rows and [
        [old + random.choice([0, 0, 0, 1, random.randint(0, 10**5)]) for old in row] for row in host.rows]
    boot = host.boot
    event = random.random()
    if rows and event < 0.05:
        rows = [[random.randint(0, 3) for _ in row] for row in rows]  # the module was reloaded
    elif rows and event < 0.08:
        rows.append([0] * len(COUNTERS))
    elif event < 0.12:
        boot = f"{random.getrandbits(128):032x}"
    elif event < 0.14:
        passed = -passed if passed < host.uptime else passed  # as after a restored snapshot
    if rows and not host.chains_are_limited:
        for row in rows:
            row[COUNTERS.index("chaintoolong")] = 0
    rows = rows and [[value % 2**32 for value in row] for row in rows]
    return Host(count, host.limit, host.buckets, rows, host.chains_are_limited, boot, host.uptime + passed)


def soon(random, host):
    """The same host less than five seconds later, as if an operator repeats the check by hand."""
    again = later(random, host)
    rows = host.rows and [[(old + random.randint(0, 9)) % 2**32 for old in row] for row in host.rows]
    if rows and not host.chains_are_limited:
        for row in rows:
            row[COUNTERS.index("chaintoolong")] = 0
    return Host(again.count, host.limit, host.buckets, rows, host.chains_are_limited, host.boot,
                host.uptime + random.randint(0, 499))


def timeline(random, first):
    """A host over some runs, mostly some minutes apart."""
    hosts = [first]
    if first.rows and random.random() < 0.2:  # some counter is about to wrap
        for row in random.sample(first.rows, random.randint(1, len(first.rows))):
            row[0] = 2**32 - random.randint(1, 1000)
    settled = False  # there is a run before the last that a repeated one is compared with
    for _ in range(random.randint(1, 4)):
        last = hosts[-1]
        if settled and random.random() < 0.15:
            hosts.append(soon(random, last))
            continue
        hosts.append(later(random, last))
        gap = hosts[-1].uptime - last.uptime
        settled = gap >= verdict.SOONEST and hosts[-1].boot == last.boot and verdict.comparable(last, hosts[-1])
    return hosts


def options_for(random, host, previous, metrics):
    """Some thresholds, most of them at or near the values of the metrics."""
    values = verdict.measured(host, previous, remembered=previous is not None)
    options = []
    for metric in metrics:
        value = values.get(metric, Fraction(random.randint(0, 1000)))
        for severity in random.choice([[WARNING], [CRITICAL], [WARNING, CRITICAL]]):
            text = range_text(random, metric, value, host.limited())
            options.append((severity, text if metric == "usage" and random.random() < 0.5 else f"{metric}={text}"))
    return options


def arguments(random, options):
    """The words of the command line."""
    words = []
    for severity, text in options:
        short, long = NAMES[severity]
        # a word that begins like another option belongs to --warning= alone
        form = 2 if text.startswith("-") and not text[1:2].isdigit() else random.randrange(4)
        words += [[short, text], [long, text], [long + "=" + text], [short, text]][form]
    return words


class Case:
    """Thresholds, and a host at one or more times."""

    def __init__(self, hosts, options, words, remembered, trees):
        self.hosts = hosts
        self.options = options
        self.words = words
        self.remembered = remembered
        self.trees = trees

    def size(self):
        return 1

    def without(self, option):
        """The same case with one threshold less."""
        options = [o for i, o in enumerate(self.options) if i != option]
        return Case(self.hosts, options, plain_words(options), self.remembered, self.trees)

    def until(self, run):
        """The same case up to this run."""
        return Case(self.hosts[:run + 1], self.options, self.words, self.remembered, self.trees[:run + 1])


def plain_words(options):
    return [word for severity, text in options for word in (NAMES[severity][1] + "=" + text,)]


def draw(random):
    """One case: a range that may be refused, several ranges on one host, or several runs on one host."""
    kind = random.random()
    first = draw_host(random)
    if kind < 0.45:
        metric = random.choice(["usage", "entries", "free", "chain"] * 4 + METRICS)
        options = options_for(random, first, None, [metric])
        at = random.randrange(len(options))
        severity, text = options[at]
        prefix, equals, body = text.rpartition("=")
        how = random.random()
        if how < 0.2:
            options[at] = (severity, prefix + equals + random.choice(MALFORMED))
        elif how < 0.45:
            options[at] = (severity, prefix + equals + damaged(random, body))
        elif how < 0.5:
            options[at] = (severity, damaged(random, text))
        elif how < 0.53:
            options.append(random.choice(options))
        elif how < 0.56:
            options[at] = (severity, random.choice(["USAGE", "conntrack", "usage ", "", "chains"]) + "=" + body)
        hosts, remembered = [first], False
    elif kind < 0.65:
        metrics = random.sample(METRICS if random.random() < 0.2 else METRICS[:4], random.choice([0, 1, 2, 3, 4]))
        options, hosts, remembered = options_for(random, first, None, metrics), [first], random.random() < 0.1
    else:
        while first.count is None or first.count < 0 or first.limit is None:
            first = draw_host(random)
        hosts, remembered = timeline(random, first), True
        metrics = random.sample(["growth", "full_in", "lost"] * 3 + COUNTERS + METRICS[:4], random.choice([1, 1, 2, 3]))
        options = options_for(random, hosts[-1], hosts[-2], sorted(set(metrics)))
    if kind < 0.65 and random.random() < 0.06 and len(options) == 2 and {s for s, _ in options} == {WARNING, CRITICAL} \
            and all("=" not in text and text[:1] not in "-" for _, text in options):
        words = [text for _, text in sorted(options)]  # WARN CRIT without -w and -c
    else:
        words = arguments(random, options)
    return Case(hosts, options, words, remembered, [files(random, host) for host in hosts])


# ---- comparing ------------------------------------------------------------------------------------------------------


def difference(folder, case):
    """Runs a case. Returns None if all is right, else the run, what was expected, and the answer."""
    try:
        given = verdict.thresholds(case.options)
    except Refused as reason:
        folder.holds(case.trees[0])
        answer = plugin.run(command(folder, case))
        expected = f"refused ({reason}): exit status 3, one line that names the option and the value"
        return None if refused(case, answer) else (0, expected, answer)
    folder.forgets()
    history = verdict.History()
    for run, host in enumerate(case.hosts):
        previous = history.compared_with(host) if case.remembered else None
        wanted = verdict.verdict(readable(host), given, previous, case.remembered)
        folder.holds(case.trees[run])
        answer = plugin.run(command(folder, case))
        if (answer.status, answer.perfdata) != (wanted.state, wanted.perfdata):
            return run, f"exit status {wanted.state}, |{wanted.perfdata}", answer
    return None


def readable(host):
    """The host without a negative count, which means that the kernel's counter wrapped."""
    if host.count is not None and host.count < 0:
        return Host(None, host.limit, host.buckets, host.rows, host.chains_are_limited, host.boot, host.uptime)
    return host


def command(folder, case):
    state = folder.state if case.remembered else "/nonexistent"
    return ["--proc-root", folder.proc, "--state-dir", state, "-t", "60", *case.words]


def refused(case, answer):
    """True for a refusal: status 3, one line without performance data that names an option, and a value as typed.

    A value is not looked for in the line if the check writes a part of it in another way: the second of two blanks.
    """
    named = [text for _, text in case.options if text.isascii() and text.isprintable() and len(text) < 40
             and not set(text) & set("|;<>&$'\"~`") and " ".join(text.split()) == text]
    unnamed = case.words and not case.words[0].startswith("-")
    return (answer.status == UNKNOWN and answer.output.count("\n") == 1 and "|" not in answer.output
            and (unnamed or any(name in answer.line for names in NAMES.values() for name in names))
            and (len(named) < len(case.options) or any(text in answer.line for text in named)))


def smallest(folder, case):
    """The same difference with as few thresholds and runs as possible."""
    found = difference(folder, case)
    case = case.until(found[0])
    at = 0
    while at < len(case.options):
        fewer = case.without(at)
        if difference(folder, fewer):
            case = fewer
        else:
            at += 1
    while len(case.hosts) > 1:
        fewer = Case(case.hosts[1:], case.options, case.words, case.remembered, case.trees[1:])
        if not difference(folder, fewer):
            break
        case = fewer
    return case


def shown(folder, case):
    """The text that lets a person repeat the difference by hand."""
    run, expected, answer = difference(folder, case)
    lines = []
    for at, tree in enumerate(case.trees[:run + 1]):
        lines.append(f"files of run {at + 1}:")
        lines += [f"    {name}: {text!r}" for name, text in sorted(tree.items())]
    lines += [f"arguments: {case.words!r}, with {'a' if case.remembered else 'no'} --state-dir",
              f"expected of run {run + 1}: {expected}", f"got: exit status {answer.status}, {answer.output!r}"]
    return lines
