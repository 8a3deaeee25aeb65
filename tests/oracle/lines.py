"""The grammar of a capture: the lines that are entries, and their classes. All decisions about lines stand here.

From the contract, and from what the kernel (ct_seq_show) and conntrack-tools print:

    [FAMILY 2|10] PROTOCOL NUMBER [TIMEOUT] [STATE] TUPLE [KEY=VALUE | [UNREPLIED]]... TUPLE WORD...

- A tuple is src= and dst=, then sport= and dport= for protocols that have ports.
- After the second tuple any word may follow but a further src= or dst=. So kernels of vendors are read, and two lines
  that became one are not.
- A line that was cut in the second tuple, or before all flags were printed, is not an entry. The kernel prints the
  flags right after the tuple and its counters. So one of the words has to be an attribute that is none of these. use=
  is the last one of every kernel, mark= the first one of most.
- Line numbers, names of files, quote marks and colours around a line do not count.

The contract does not decide the following. The oracle decides so that no damaged line is counted wrongly:

- A line with a word between the tuples that is neither [UNREPLIED] nor an attribute is not an entry. The word may be
  a damaged [UNREPLIED], and the entry would count as answered.
- The number of the protocol decides. A known name has to agree with it, an unknown name is accepted.
- The words before the first tuple matter for TCP only. Other protocols may have a timeout and two more words there.
- A line that is not UTF-8 is not an entry.
"""

import ipaddress
import re

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "icmpv6": 58, "sctp": 132, "udplite": 136}
FAMILIES = {"ipv4": ("2", 4), "ipv6": ("10", 6)}
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
ALWAYS_PORTS, SOMETIMES_PORTS = {6, 17}, {33, 132, 136}
# kernels before 2.6.31 print LISTEN in the place of SYN_SENT2
CLASS_OF_STATE = {"NONE": "other", "SYN_SENT": "syn_sent", "SYN_SENT2": "syn_sent", "LISTEN": "syn_sent",
                  "SYN_RECV": "syn_recv", "ESTABLISHED": "established", "FIN_WAIT": "fin_wait",
                  "CLOSE_WAIT": "close_wait", "LAST_ACK": "last_ack", "TIME_WAIT": "time_wait", "CLOSE": "close"}
OFFLOADED = {"[OFFLOAD]", "[HW_OFFLOAD]"}

TIMEOUT = re.compile(r"-?[0-9]{1,9}")
NUMBER = re.compile(r"[0-9]{1,9}")
KEY = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=")
NAME = re.compile(r"[a-z][a-z0-9-]*")
SUMMARY = re.compile(r"conntrack v.*flow entries have been shown\.")
# the attributes that stand between the second tuple and the flags, and those whose text may hold anything
BEFORE_FLAGS = {"packets", "bytes", "zone-orig", "zone-reply", "type", "code", "id", "srckey", "dstkey"}
FREE_TEXT = ("secctx=", "labels=", "[start=")

COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
CONTROLS = re.compile("[\x00-\x1f\u00a0]")
# quote marks, and the prefixes of cat -n, grep -n and grep -H
PREFIXES = re.compile(r"(?:> *|[0-9]+ +|[^ =:]*: *)*")


class Entry:
    """A line that is an entry: its class, its marks and its addresses."""

    def __init__(self, class_, unreplied, evictable, addresses):
        self.addresses = addresses
        self.counts = {class_: 1, "unreplied": int(unreplied), "evictable": int(evictable)}


class NotAnEntry(Exception):
    """The line is not an entry; the check counts it as unread."""


def entry(line):
    """Reads one line without its line feed. Returns None for a blank one, raises NotAnEntry for other text."""
    try:
        text = cleaned(line.decode())
    except UnicodeDecodeError:
        raise NotAnEntry("text that is no UTF-8") from None
    return None if not text or SUMMARY.fullmatch(text) else whole(text)


def cleaned(text):
    """The line without the additions of terminals, editors and mail programs."""
    text = CONTROLS.sub(" ", COLOURS.sub("", text.lstrip(" \t").removeprefix("\ufeff"))).strip(" ")
    return text[PREFIXES.match(text).end():]


def whole(text):
    """Reads a line that was cleaned and is not blank."""
    words = [word for word in text.split(" ") if word]
    family, protocol, at = head(words)
    first = next((i for i in range(at, len(words)) if words[i].startswith("src=")), None)
    if first is None:
        raise NotAnEntry("no tuple")
    state = private(protocol, words[at:first])

    addresses = []
    at = tuple_(words, first, protocol, addresses)
    unreplied = False
    while at < len(words) and not words[at].startswith("src="):
        if words[at] == "[UNREPLIED]":
            unreplied = True
        elif words[at].startswith("dst="):
            raise NotAnEntry("a third tuple")
        elif not KEY.match(words[at]):
            raise NotAnEntry("a word between the tuples")
        at += 1
    at = tuple_(words, at, protocol, addresses)

    common = set.intersection(*map(families, addresses))
    if not common or family not in {None, *common}:
        raise NotAnEntry("addresses of another family")

    tail = words[at:]
    if any(word.startswith(("src=", "dst=")) for word in tail):
        raise NotAnEntry("a third tuple")
    keys = {key[1] for key in map(KEY.match, tail) if key}
    if keys <= BEFORE_FLAGS:
        raise NotAnEntry("cut before all flags were printed")
    flags = tail[:next((i for i, word in enumerate(tail) if word.startswith(FREE_TEXT)), None)]
    offloaded = not OFFLOADED.isdisjoint(flags)
    evictable = not offloaded and "[ASSURED]" not in flags
    return Entry(class_of(protocol, state, offloaded), unreplied, evictable, addresses)


def head(words):
    """Family, protocol number, and the index of the word after them."""
    family, at = None, 0
    known = FAMILIES.get(words[0])
    if known:
        if words[1:2] != [known[0]]:
            raise NotAnEntry("family and its number disagree")
        family, at = known[1], 2
    if len(words) < at + 2:
        raise NotAnEntry("too short")
    name, number = words[at:at + 2]
    if not NUMBER.fullmatch(number) or int(number) > 255:
        raise NotAnEntry("no protocol number")
    stands_for = NUMBERS.get(name)
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
        if len(words) > 1 or (words and words[0] not in CLASS_OF_STATE):
            raise NotAnEntry("no state of TCP")
        return words[0] if words else None
    if len(words) > 2:
        raise NotAnEntry("too many words before the tuple")
    return None


def tuple_(words, at, protocol, addresses):
    """Reads a tuple, adds its addresses, and returns the index of the word after it."""
    for key in ("src=", "dst="):
        if at >= len(words) or not words[at].startswith(key):
            raise NotAnEntry("no " + key)
        addresses.append(address(words[at][len(key):]))
        at += 1
    has_ports = at < len(words) and words[at].startswith("sport=")
    if protocol in ALWAYS_PORTS or (protocol in SOMETIMES_PORTS and has_ports):
        for key in ("sport=", "dport="):
            value = words[at][len(key):] if at < len(words) and words[at].startswith(key) else ""
            if not NUMBER.fullmatch(value) or int(value) > 65535:
                raise NotAnEntry("no " + key)
            at += 1
    return at


def address(text):
    """An address of either family."""
    # Python before 3.9.5 takes 192.0.2.01 for an address
    if "%" in text or not text.isascii() or ("." in text and re.search(r"(?:^|[.:])0[0-9]+(?:\.|$)", text)):
        raise NotAnEntry("no address")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise NotAnEntry("no address") from None


def families(address_):
    """The families that an address may stand in: ::ffff:192.0.2.1 is written so for IPv4 too."""
    return {address_.version, 4} if address_.version == 6 and address_.ipv4_mapped else {address_.version}


def class_of(protocol, state, offloaded):
    """The class that the check counts the entry in."""
    if protocol == TCP:
        return "established" if offloaded else CLASS_OF_STATE[state or "NONE"]
    return {UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}.get(protocol, "other")
