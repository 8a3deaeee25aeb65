"""Sentences of the contract that the check does not follow yet. Each is left out of what is compared.

Remove a name together with the change of the check that makes it true. `tests/oracle/run --all` compares all the same.
"""

NAMES = {
    # captures
    "a capture without an entry",
    "a line without use=",
    "a tenth of the lines",
    "a third tuple",
    "any key between the tuples",
    "any name of a protocol",
    "any word after the tuples",
    "gzip",
    "IPv4-mapped addresses",
    "line 1 says how many lines of how many",
    "what is put around a line",
    # ranges
    "a range that is no UTF-8 is refused with the name of its option",
    "full before the next check",
    "thresholds of growth and full_in are rounded",
}
