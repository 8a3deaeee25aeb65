"""The grammar of a capture: which line is an entry, and of which class. All that is decided about lines stands here.

From the contract, and from what the kernel (ct_seq_show) and conntrack-tools print:

    [NUMBER] [FAMILY 2|10] PROTOCOL NUMBER [TIMEOUT] [STATE] TUPLE [KEY=VALUE ...] [UNREPLIED] TUPLE WORD ...

A tuple is src= and dst=, with sport= and dport= for protocols that have ports. After the second tuple any word may
follow but a further src= or dst=. One of them has to be use=NUMBER, the last word of every kernel and of conntrack
-L: a line without it was cut.
"""

import ipaddress
import re

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "icmpv6": 58, "sctp": 132, "udplite": 136}
FAMILIES = {"ipv4": ("2", 4), "ipv6": ("10", 6)}
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
ALWAYS_PORTS, SOMETIMES_PORTS = {6, 17}, {33, 132, 136}
# LISTEN is what kernels before 2.6.31 called SYN_SENT2
CLASS_OF_STATE = {"NONE": "other", "SYN_SENT": "syn_sent", "SYN_SENT2": "syn_sent", "LISTEN": "syn_sent",
                  "SYN_RECV": "syn_recv", "ESTABLISHED": "established", "FIN_WAIT": "fin_wait",
                  "CLOSE_WAIT": "close_wait", "LAST_ACK": "last_ack", "TIME_WAIT": "time_wait", "CLOSE": "close"}
OFFLOADED = {b"[OFFLOAD]", b"[HW_OFFLOAD]"}

BLANKS = b" \t"
TIMEOUT = re.compile(rb"-?[0-9]+")
KEY = re.compile(rb"[A-Za-z0-9_.-]+=")
NAME = re.compile(rb"[a-z]+")
SUMMARY = re.compile(rb"conntrack v.*flow entries have been shown\.")
LINE_NUMBER = re.compile(rb"[ \t]*[0-9]+(?::[ \t]*|[ \t]+)(?=[a-z])")  # of grep -n, cat -n
# what kernels and conntrack-tools put after the tuples, in their order
USUAL = re.compile(rb"(?:zone-reply=\S+ )?(?:packets=\S+ bytes=\S+ )?(?:\[(?:ASSURED|OFFLOAD|HW_OFFLOAD)\] )*"
                   rb"(?:(?:mark|secmark|zone|delta-time)=\S+ )*use=[0-9]+(?: id=\S+)?")


class Entry:
    """What counts of a line that is an entry. `rests_on` names the sentences of pending.py that made it one."""

    def __init__(self, class_, unreplied, evictable, rests_on):
        self.counts = {class_: 1, "unreplied": int(unreplied), "evictable": int(evictable)}
        self.rests_on = rests_on


class NotAnEntry(Exception):
    """The line is counted as one that was not read."""

    rests_on = frozenset()


def is_blank(line):
    """True for a line that is neither an entry nor one that was not read."""
    text = line.strip(BLANKS + b"\r")
    return not text or SUMMARY.fullmatch(text) is not None


def entry(line):
    """Reads one line without its line feed. Raises NotAnEntry."""
    rests_on = set() if is_utf8(line) else {"text that is no UTF-8"}
    try:
        return whole(line, rests_on)
    except NotAnEntry as reason:
        reason.rests_on = rests_on
        raise


def whole(line, rests_on):
    """Reads one line, and adds to `rests_on`."""
    text = line.rstrip(BLANKS + b"\r")
    numbered = LINE_NUMBER.match(text)
    if numbered:
        text = text[numbered.end():]
        rests_on.add("line numbers")
    text = text.lstrip(BLANKS)
    if b"\t" in text:
        rests_on.add("tabs between words")
    words = [word for word in re.split(rb"[ \t]+", text) if word]

    family, protocol, at = head(words)
    try:
        first = next(i for i in range(at, len(words)) if words[i].startswith(b"src="))
    except StopIteration:
        raise NotAnEntry("no tuple") from None
    state = private(protocol, words[at:first])

    addresses = []
    at = tuple_(words, first, protocol, addresses)
    unreplied = False
    while at < len(words) and not words[at].startswith(b"src="):
        if words[at] == b"[UNREPLIED]":
            unreplied = True
        elif words[at].startswith(b"dst="):
            rests_on.add("a third tuple")
            raise NotAnEntry("a third tuple")
        elif not KEY.match(words[at]):
            raise NotAnEntry("a word between the tuples")
        elif not re.fullmatch(rb"[a-z-]+=.+", words[at]):
            rests_on.add("any key between the tuples")
        at += 1
    at = tuple_(words, at, protocol, addresses)

    versions = {address.version for address in addresses}
    if len(versions) > 1 or family not in (None, *versions):
        raise NotAnEntry("addresses of another family")
    if any(address.version == 6 and address.ipv4_mapped for address in addresses):
        rests_on.add("IPv4-mapped addresses")
        raise NotAnEntry("IPv4-mapped")

    tail = words[at:]
    if any(word.startswith((b"src=", b"dst=")) for word in tail):
        rests_on.add("a third tuple")
        raise NotAnEntry("a third tuple")
    if not any(re.fullmatch(rb"use=[0-9]+", word) for word in tail):
        raise NotAnEntry("cut, there is no use=")
    if not USUAL.fullmatch(b" ".join(tail)):
        rests_on.add("any word after the tuples")
    # a label may be anything, but nothing after it is a flag: these stand before it
    label = next((i for i, word in enumerate(tail) if word.startswith(b"secctx=")), len(tail))
    offloaded = not OFFLOADED.isdisjoint(tail[:label])
    evictable = not offloaded and b"[ASSURED]" not in tail[:label]
    return Entry(class_of(protocol, state, offloaded), unreplied, evictable, rests_on)


def is_utf8(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def head(words):
    """Family, protocol number, and where the rest begins."""
    family, at = None, 0
    known = FAMILIES.get(words[0].decode("latin-1"))
    if known:
        if len(words) < 2 or words[1] != known[0].encode():
            raise NotAnEntry("family and its number disagree")
        family, at = known[1], 2
    if len(words) < at + 2:
        raise NotAnEntry("too short")
    name, number = words[at:at + 2]
    if not re.fullmatch(rb"[0-9]+", number) or int(number) > 255:
        raise NotAnEntry("no protocol number")
    stands_for = NUMBERS.get(name.decode("latin-1"))
    if stands_for is None:
        if not NAME.fullmatch(name):
            raise NotAnEntry("no protocol name")
    elif stands_for != int(number):
        raise NotAnEntry("protocol and its number disagree")
    return family, int(number), at + 2


def private(protocol, words):
    """The TCP state among the words before the first tuple, None if there is none.

    These are a timeout and a state, for TCP one of its own. GRE prints two words in the place of a state.
    """
    if words and TIMEOUT.fullmatch(words[0]):
        words = words[1:]
    if protocol == TCP:
        if len(words) > 1 or (words and words[0].decode("latin-1") not in CLASS_OF_STATE):
            raise NotAnEntry("no state of TCP")
        return words[0].decode() if words else None
    if len(words) > 2:
        raise NotAnEntry("too many words before the tuple")
    return None


def tuple_(words, at, protocol, addresses):
    """Reads a tuple, adds its addresses, and returns where the words after it begin."""
    for key in (b"src=", b"dst="):
        if at >= len(words) or not words[at].startswith(key):
            raise NotAnEntry("no " + key.decode())
        addresses.append(address(words[at][len(key):]))
        at += 1
    has_ports = at < len(words) and words[at].startswith(b"sport=")
    if protocol in ALWAYS_PORTS or (protocol in SOMETIMES_PORTS and has_ports):
        for key in (b"sport=", b"dport="):
            value = words[at][len(key):] if at < len(words) and words[at].startswith(key) else b""
            if not re.fullmatch(rb"[0-9]+", value) or int(value) > 65535:
                raise NotAnEntry("no " + key.decode())
            at += 1
    return at


def address(text):
    """An address of either family."""
    # Python before 3.9.5 takes 192.0.2.01 for an address
    if b"%" in text or re.search(rb"(?:^|[.:])0[0-9]+(?:\.|$)", text) and b"." in text:
        raise NotAnEntry("no address")
    try:
        return ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise NotAnEntry("no address") from None


def class_of(protocol, state, offloaded):
    """The class that the check counts the entry in."""
    if protocol == TCP:
        return "established" if offloaded else CLASS_OF_STATE[state or "NONE"]
    return {UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}.get(protocol, "other")
