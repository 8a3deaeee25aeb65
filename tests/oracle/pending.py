"""Sentences of the contract that the check does not follow yet. Each is left out of what is compared.

Remove a name together with the change of the check that makes it true. `tests/oracle/run --all` compares all the same.
"""

NAMES = {
    "a capture without an entry",
    "a tenth of the lines",
    "any key between the tuples",
    "any word after the tuples",
    "a third tuple",
    "gzip",
    "IPv4-mapped addresses",
    "line 1 says how many lines of how many",
    "line numbers",
    "tabs between words",
    "text that is no UTF-8",
    "full before the next check",
    "a range that is no UTF-8 is refused with the name of its option",
    "thresholds of growth and full_in are rounded",
}
