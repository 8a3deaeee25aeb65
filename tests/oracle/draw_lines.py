"""Draws captures of mutated lines, runs the check on them, and compares with lines.py."""

import functools
import gzip
import os
import re
from fractions import Fraction

import lines
import plugin
import verdict
from draw_runs import NAMES, NETFILTER, number
from verdict import CLASSES, CRITICAL, TABLE, UNKNOWN, WARNING, Host

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "captures")
LINES_OF_A_FILE = 8  # 255 lines, each a power of two of times
PADDING = b"tcp      6 9 CLOSE src=192.0.2.1 dst=192.0.2.2 sport=1 dport=2 src=192.0.2.2 dst=192.0.2.1 sport=2 " \
    b"dport=1 [ASSURED] mark=0 use=1\n"
TCP_STATES = [
    "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
    "NONE", "LISTEN",
]
SCTP_STATES = ["CLOSED", "COOKIE_WAIT", "ESTABLISHED", "HEARTBEAT_SENT", "NONE"]
DCCP_STATES = ["REQUEST", "OPEN", "TIMEWAIT"]
FLAGS = ["[ASSURED]", "[OFFLOAD]", "[HW_OFFLOAD]", "[UNREPLIED]"]
OF_VENDORS = [
    "[FASTNAT]", "[RTCACHE o33/r11]", "[SWOFFLOAD]", "nmark=256", "sc=0", "ifw=59", "ifl=35",
    "mac=00:00:5e:00:53:01", "slan", "swan", "attrs=", "nomac", "no_if", "iqprio=0", "swaccel=4", "hwaccel=4",
    "blog=1", "l7proto=http", "secmark=0", "secctx=system_u:object_r:unlabeled_t:s0", "secctx=a label (enforce)",
    "helper=ftp", "labels=eth0-in,b", "[start=Sun Nov 22 11:28:18 2026]", "x1y2=3", "delta-time=3", "zone=7",
    "use=3", "id=17", "Mixed_Case.key-2=v=w",
]
OTHER_WORDS = [
    "tcp", "udp", "unknown", "6", "17", "ipv4", "ipv6", "2", "10", "src=192.0.2.9", "dst=192.0.2.8", "sport=1",
    "dport=2", "sport=65536", "dport=", "packets=1", "bytes=2", "type=8", "code=0", "id=1", "srckey=0x0", "use=",
    "use=x", "mark=0", "src=", "src=x.x.x.x", "dst=192.0.2", "src=2001:db8::9", "dst=::ffff:192.0.2.1", "=",
    "a=b=c", "garbage", "-3", "...", "TIME_WAIT", "ESTABLISHED", "timeout=600,", "stream_timeout=18000",
    "zone-orig=3", "zone-reply=4", "[NEW]", "[X", "Y]",
]
TEXT = [
    "# conntrack -L",
    "conntrack v1.4.4 (conntrack-tools): Operation failed: sorry, you must be root or get CAP_NET_ADMIN",
    "cat: /proc/net/nf_conntrack: Permission denied", '<flow type="new">',
    "cpu=0 found=0 invalid=1 insert=0 drop=0",
    "    [NEW] udp      17 30 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=53 [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 "
    "sport=53 dport=1",
    "tcp", "ipv4     2", "--", "~ # ", "tcp        0      0 192.0.2.1:22    192.0.2.7:50000   ESTABLISHED", "ipv4",
    "17 17", "src=192.0.2.1", "[ASSURED]",
]
BLANK = ["", " ", "\t", "conntrack v1.4.6 (conntrack-tools): 0 flow entries have been shown.", "  \r"]


def corpus():
    """Lines of real kernels."""
    found = []
    for name in sorted(os.listdir(CORPUS)):
        if name.endswith(".txt"):
            with open(os.path.join(CORPUS, name), "rb") as file:
                found += [line for line in file.read().split(b"\n") if b"use=" in line]
    return found


REAL_LINES = corpus()


# ---- lines ----------------------------------------------------------------------------------------------------------


def address(random, six, compressed=True):
    """An address of a documentation network, as the kernel or conntrack-tools print it."""
    if not six:
        return f"192.0.2.{random.randint(0, 255)}"
    return f"2001:db8::{random.randrange(1, 65536):x}" if compressed else \
        f"2001:0db8:0000:0000:0000:0000:0000:{random.randrange(1, 65536):04x}"


def clean_line(random):
    """A line that is an entry, of any protocol and of any program."""
    procfs, six = random.random() < 0.5, random.random() < 0.2
    name = random.choice(["tcp"] * 8 + ["udp"] * 4 + ["icmp", "sctp", "dccp", "gre", "udplite", "unknown"])
    protocol = lines.NUMBERS.get(name) or random.choice([2, 33, 50, 51, 89, 136])
    if name == "icmp" and six:
        name, protocol = "icmpv6", 58
    offloaded = name == "tcp" and random.random() < 0.1
    words = []
    if procfs:
        words.append("ipv6     10" if six else "ipv4     2")
    words.append(f"{name:<8} {protocol}")
    if not offloaded:
        words.append(str(random.randint(0, 432000)))
        words += {"tcp": [random.choice(TCP_STATES)], "sctp": [random.choice(SCTP_STATES)],
                  "dccp": [random.choice(DCCP_STATES)] * procfs,
                  "gre": ["timeout=30, stream_timeout=180"] * procfs}.get(name, [])
    ends = [address(random, six, not procfs) for _ in range(2)]
    ports = [random.randrange(65536), random.choice([53, 80, 443, 6379])]
    accounting = random.random() < 0.4

    def way(source, destination, ports, kind):
        words.extend([f"src={source}", f"dst={destination}"])
        if name in ("tcp", "udp", "sctp", "dccp", "udplite"):
            words.extend([f"sport={ports[0]}", f"dport={ports[1]}"])
        elif protocol in (1, 58):
            words.append(f"type={kind} code=0 id={ports[0]}")
        elif name == "gre":
            words.append("srckey=0x0 dstkey=0x0")
        if accounting:
            words.append("packets=3 bytes=180")

    way(*ends, ports, 8)
    replied = random.random() < 0.7
    if not replied:
        words.append("[UNREPLIED]")
    answers = [ends[1], ends[0] if random.random() < 0.7 else address(random, six, not procfs)]
    way(*answers, ports[::-1], 0)
    if offloaded:
        words.append(random.choice(["[OFFLOAD]", "[HW_OFFLOAD]"]))
    elif replied and random.random() < 0.7:
        words.append("[ASSURED]")
    words.append(f"mark={random.choice([0, 0, 7, 268434092])}")
    words += random.sample(OF_VENDORS, random.choice([0, 0, 0, 1, 3]))
    if procfs:
        words.append("zone=0")
    words.append(f"use={random.randint(1, 20)}")
    if random.random() < 0.1:
        words.append(f"id={random.getrandbits(32)}")
    return " ".join(words).encode()


def some_word(random):
    return random.choice(random.choice([OF_VENDORS, OTHER_WORDS, FLAGS])).encode()


def in_words(change):
    """Returns an operator on the words of a line that keeps runs of blanks."""
    def operator(random, line):
        words = line.split(b" ")
        change(random, words)
        return b" ".join(words)
    return operator


def drop_word(random, words):
    del words[random.randrange(len(words))]


def duplicate_word(random, words):
    words.insert(random.randrange(len(words) + 1), random.choice(words))


def replace_word(random, words):
    words[random.randrange(len(words))] = some_word(random)


def swap_words(random, words):
    one, other = random.randrange(len(words)), random.randrange(len(words))
    words[one], words[other] = words[other], words[one]


def insert_word(random, words):
    words.insert(random.randint(0, len(words)), some_word(random))


def append_word(random, words):
    """Inserts a word after the second tuple, the place for words of vendors."""
    starts = [i for i, word in enumerate(words) if word.startswith(b"src=")]
    words.insert(random.randint(starts[-1] if starts else 0, len(words)), some_word(random))


def cut(random, line):
    return line[:random.randrange(len(line) + 1)]


def cut_near_the_end(random, line):
    return line[:-random.randint(1, 30)]


def cut_in_front(random, line):
    return line[random.choice([random.randint(1, 12), random.randrange(len(line) + 1)]):]


def swap_tuples(random, line):
    found = list(re.finditer(rb"src=\S+ dst=\S+(?: sport=\S+ dport=\S+)?", line))
    if len(found) < 2:
        return line
    first, second = found[0].span(), found[1].span()
    return (line[:first[0]] + line[slice(*second)] + line[first[1]:second[0]] + line[slice(*first)] + line[second[1]:])


def change_digit(random, line):
    digits = [i for i, byte in enumerate(line) if chr(byte).isdigit()]
    if not digits:
        return line
    at = random.choice(digits)
    return line[:at] + random.choice([b"0", b"1", b"2", b"5", b"9", b"", b"99", b"x", b"-"]) + line[at + 1:]


def change_byte(random, line):
    if not line:
        return line
    at = random.randrange(len(line))
    return line[:at] + bytes([random.choice(b" \t=[]:.,-_0aZ/\x01\x7f\xff")]) + line[at + random.choice([0, 1]):]


def change_family(random, line):
    old, new = random.choice([
        (b"ipv4     2", b"ipv6     10"), (b"ipv6     10", b"ipv4     2"), (b"ipv4     2 ", b""),
        (b"ipv4     2", b"ipv4     10"), (b"ipv4", b"unknown"), (b"192.0.2.", b"::ffff:192.0.2."),
        (b"2001:db8::", b"192.0.2."), (b"tcp      6", b"udp      17"), (b"udp      17", b"tcp      6"),
        (b"icmp     1", b"icmpv6   58"), (b"tcp", b"udp"),
    ])
    return line.replace(old, new, random.choice([1, 2, 4]))


def with_prefix(random, line):
    """A line behind a prefix of grep -n, cat -n, a mail program or another one."""
    n = random.randint(1, 999)
    return random.choice([
        f"{n}:", f"{n:6}\t", f"{n:6}  ", f"{n}: ", f"{n} ", "    ", "\t", "> ", "* ", f"capture:{n}:", f"{n}-", f"{n}.",
        f"[{n}.000001] ", "\ufeff",
    ]).encode() + line


def with_ending(random, line):
    return line + random.choice([b"\r", b" ", b" \t ", b"\r\r", b" \r", b"\xc2\xa0", b"|", b","])


def with_tabs(random, line):
    return line.replace(b" ", b"\t", random.choice([1, 2, -1]))


def in_upper_case(random, line):
    if random.random() < 0.3:
        return line.upper()
    words = line.split(b" ")
    at = random.randrange(len(words))
    words[at] = random.choice([words[at].upper(), words[at].lower()])
    return b" ".join(words)


def not_ascii(random, line):
    at = random.choice([0, len(line), random.randrange(len(line) + 1)])
    text = random.choice(["\u00e9", "\u00a0", "\u2026", "\u0663", "\ufeff"]).encode()
    return line[:at] + random.choice([text, text, b"\xe9", b"\xff", b"\x80"]) + line[at:]


def with_another(random, line):
    other = clean_line(random)
    return line + random.choice([b"", b" ", b"  "]) + random.choice([other, cut(random, other)])


def after_a_part(random, line):
    return cut(random, clean_line(random)) + random.choice([b"", b" "]) + line


def wider(random, line):
    return line.replace(b" ", b"  ", random.choice([1, -1]))


def narrower(random, line):
    return re.sub(rb" +", b" ", line)


def redacted(random, line):
    instead = random.choice([b"x.x.x.x", b"1.2.3.x", b"<hidden>", b"*", b""])
    return re.sub(rb"192\.0\.2\.\d+|2001:[0-9a-f:]+", instead, line, count=random.choice([1, 2, 4]))


OPERATORS = [
    *map(in_words, [drop_word, duplicate_word, replace_word, swap_words, insert_word, append_word, append_word]),
    cut, cut_near_the_end, cut_in_front, swap_tuples, change_digit, change_digit, change_byte, change_family,
    with_prefix, with_prefix, with_ending, with_tabs, in_upper_case, not_ascii, with_another, after_a_part, wider,
    narrower, redacted,
]


def mutated_line(random):
    """A line with up to three mutations, without its line feed."""
    kind = random.random()
    if kind < 0.02:
        return random.choice(TEXT).encode()
    line = random.choice(REAL_LINES) if kind < 0.3 else clean_line(random)
    for _ in range(random.choice([0, 1, 1, 1, 1, 2, 3])):
        line = random.choice(OPERATORS)(random, line)
    return line.replace(b"\n", b" ")


@functools.lru_cache(1000)
def read(line):
    """Returns an Entry, a NotAnEntry with the reason, or None for a blank line."""
    try:
        return lines.entry(line)
    except lines.NotAnEntry as reason:
        return reason


# ---- captures -------------------------------------------------------------------------------------------------------


class Case:
    """A capture and thresholds on what it holds.

    If `weighted` the line number i of `lines` stands in it 2**i times, so that each counter of the answer tells which
    lines are in it. Else each stands in it once, and they are `wrapped` into the file that was drawn. `padded` captures
    hold so many clean lines besides that "less" than a tenth is not read, or exactly "a tenth".
    """

    def __init__(self, lines_, weighted, padded, packed, limit, options, wrapped):
        self.lines = lines_
        self.weighted = weighted
        self.padded = padded
        self.packed = packed
        self.limit = limit
        self.options = options
        self.wrapped = wrapped

    def size(self):
        return len(self.lines)

    def weights(self):
        """Each line, and the number of its copies in the capture."""
        return [(line, 2**i if self.weighted else 1) for i, line in enumerate(self.lines)]

    def padding(self):
        """The number of clean lines in front of the others."""
        refused = sum(times for line, times in self.weights() if isinstance(read(line), lines.NotAnEntry))
        entries = sum(times for line, times in self.weights() if isinstance(read(line), lines.Entry))
        return {"less": 10 * refused, "a tenth": max(9 * refused - entries, 0)}.get(self.padded, 0)

    def plain(self):
        """The lines as a file, without the padding."""
        if self.weighted:
            return b"".join((line + b"\n") * times for line, times in self.weights())
        return self.wrapped(self.lines, expected_counts(self)[1])

    def content(self):
        content = PADDING * self.padding() + self.plain()
        return gzip.compress(content, 1, mtime=0) if self.packed else content

    def with_lines(self, chosen):
        return Case(chosen, self.weighted, self.padded, self.packed, self.limit, self.options, self.wrapped)


def wrapping(random):
    """Returns a function that joins lines to a file, with or without the summary of conntrack -L."""
    end = random.choice([b"\n", b"\n", b"\r\n"])
    last, in_the_middle = random.random() < 0.7, random.random()

    def wrapped(lines_, _):
        return end.join(lines_) + (end if last and lines_ else b"")

    def interrupted(lines_, entries):
        content = wrapped(lines_, entries)
        at = int(in_the_middle * 2 * len(content))
        summary = f"conntrack v1.4.7 (conntrack-tools): {entries} flow entries have been shown.\n"
        return content[:at] + summary.encode() + content[at:]

    return interrupted if in_the_middle < 0.4 else wrapped


def draw(random):
    """One capture of some mutated lines."""
    weighted = random.random() < 0.8
    how_many = LINES_OF_A_FILE if weighted else random.choice([0, 1, random.randint(0, 60)])
    chosen = []
    while len(chosen) < how_many:
        chosen.append(random.choice(BLANK).encode() if random.random() < 0.03 else mutated_line(random))
    packed = random.random() < 0.1
    limit = random.choice([None, None, random.randint(1, 5000)])
    padded = random.choice(["less"] * 8 + ["a tenth", None])
    case = Case(chosen, weighted, padded, packed, limit, [], wrapping(random))
    case.options = some_options(random, limit, expected_counts(case)[0])
    return case


def some_options(random, limit, totals):
    """Mostly no threshold, or few at what the counters are; now and then more than performance data has room for."""
    how_many, far = random.choice([(0, 0)] * 14 + [(1, 0.05), (1, 0), (2, 0), (3, 0), (8, 0.3), (14, 0.9)])
    options = []
    for metric in random.sample(TABLE, how_many):
        both = [[WARNING, CRITICAL]] * (4 if far == 0.9 else 1)
        for severity in random.choice([[WARNING], [CRITICAL], *both]):
            text = number(random, max(totals.get(metric, 0) + random.choice([-1, 0, 0, 1]), 0))
            if random.random() < far:
                text = str(random.randint(10**8, 10**random.choice([9, 14, 18]) - 1))
            elif limit and metric in totals and random.random() < 0.3:
                text = number(random, totals[metric] * 100 // limit) + "%"
            wide = "-" + "5" * random.randint(1, 18) + ":{}"
            form = random.choice(["{}", "{}:", "@{}", "~:{}", "0:{}", wide, wide, "@" + wide])
            options.append((severity, f"{metric}={form.format(text)}"))
    return options


def expected_counts(case):
    """The counters of a capture, the number of its entries, and the number of lines that cannot be read."""
    totals = dict.fromkeys(["unreplied", "evictable"] + CLASSES, 0)
    entries, refused = case.padding(), 0
    totals["close"] += entries
    for line, times in case.weights():
        judged = read(line)
        if isinstance(judged, lines.NotAnEntry):
            refused += times
        elif judged:
            entries += times
            for name in judged.counts:
                totals[name] += judged.counts[name] * times
    return totals, entries, refused


def unread(answer):
    """The number of unread lines and of all lines in the answer. Only this function knows the sentence."""
    found = re.search(r"(\d+) of (\d+) lines", answer.text)
    return (int(found[1]), int(found[2])) if found else (0, None)


def difference(folder, case):
    """Runs the check on a capture. Returns None if all is right, else what was expected, and the answer."""
    plugin.write(folder.capture, case.content())
    folder.holds({} if case.limit is None else {NETFILTER + "max": f"{case.limit}\n"})
    words = [word for severity, text in case.options for word in (NAMES[severity][0], text)]
    answer = plugin.run(["--proc-root", folder.proc, "--state-dir", "/nonexistent", "-t", "60", "-v",
                         "--own", "0.0.0.0/0,::/0", "--table", folder.capture, *words])
    totals, entries, refused = expected_counts(case)
    told, of = unread(answer)
    if told == 0 and len(case.options) > 8 and answer.status != verdict.OK:
        told, of = refused, None  # line 1 is full of thresholds
    # the oracle does not find the largest endpoint, it accepts every possible number of entries; nor does it look for the
    # pair of addresses that uses most of its source ports
    endpoint = int(answer.values().get("endpoint", -1))
    ports = {"ports": Fraction(answer.values()["ports"])} if "ports" in answer.values() else {}
    given = verdict.thresholds(case.options)
    every = entries + refused
    measured = refused * 10 < every if every else lines.SUMMARY.search(case.plain().decode("latin-1"))
    if measured:
        # loopback addresses do not show that --own fits, so a capture without other addresses has no endpoint
        hidden = entries and not case.padding() and all(
            address_.is_loopback for line, _ in case.weights() for address_ in getattr(read(line), "addresses", []))
        counts = {**totals, **ports} if hidden else {"endpoint": endpoint, **totals, **ports}
        endpoint = 1 if hidden and endpoint == -1 else endpoint
        wanted = verdict.verdict(Host(entries, case.limit, None, None), given, counts=counts)
        if (answer.status, answer.perfdata, told) == (wanted.state, wanted.perfdata, refused) \
                and of in (None, every) and min(entries, 1) <= endpoint <= entries \
                and (hidden or 0 <= ports.get("ports", -1) <= 100):
            return None
    else:
        # the check counts nothing if a tenth of the lines is unread: a range on the table is UNKNOWN
        wanted = verdict.verdict(Host(None, case.limit, None, None), given, counts={})
        if entries == 0 or refused > entries:
            wanted.state = max(wanted.state, UNKNOWN, key=verdict.GRAVITY.get)
        said = not entries or (told, of) == (refused, every)
        if said and (answer.status, answer.perfdata) == (wanted.state, ""):
            return None
        wanted.perfdata = ""
    return f"not read {refused} of {every}, exit status {wanted.state}, |{wanted.perfdata}", answer


def smallest(folder, case):
    """The same difference with as few lines as possible, and without thresholds if these do not matter."""
    bare = case.with_lines(case.lines)
    bare.options = []
    if difference(folder, bare):
        case = bare
    at = 0
    while at < len(case.lines) and len(case.lines) > 1:
        fewer = case.with_lines(case.lines[:at] + case.lines[at + 1:])
        if difference(folder, fewer):
            case = fewer
        else:
            at += 1
    return case


def shown(folder, case):
    """The text that lets a person repeat the difference by hand."""
    expected, answer = difference(folder, case)
    shown_ = []
    for line, times in case.weights():
        shown_.append(f"{line!r}{'' if times == 1 else f', {times} times'}: {judged(line)}")
    if case.padding():
        shown_.append(f"{case.padding()} times {PADDING!r}")
    if not case.weighted:
        shown_.append(f"the file: {case.plain()!r}")
    return shown_ + [f"thresholds: {case.options!r}, nf_conntrack_max: {case.limit}", f"expected: {expected}",
                     f"got: exit status {answer.status}, {answer.output!r}"]


def judged(line):
    """The verdict of the grammar on a line, in words."""
    found = read(line)
    if found is None:
        return "blank"
    if isinstance(found, lines.NotAnEntry):
        return f"not an entry: {found}"
    return "an entry: " + ", ".join(name for name, count in found.counts.items() if count)
