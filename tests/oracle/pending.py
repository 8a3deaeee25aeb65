"""Rules that the oracle follows and the check does not follow yet. The comparison leaves them out.

A change of the check that follows a rule removes its name here. `tests/oracle/run --all` compares these rules too.
"""

NAMES = {
    # a line with a word between the tuples that is neither [UNREPLIED] nor an attribute is not an entry
    "a word between the tuples",
    # a refusal names the option, also if its value is not UTF-8
    "a range that is no UTF-8 is refused with the name of its option",
    # the range that decides is the range that is printed; rounded ends of a value with fractions are another range
    "thresholds of growth and full_in are rounded",
}
