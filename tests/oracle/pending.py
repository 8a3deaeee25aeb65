"""What the oracle reads in the contract and the check does not do yet. Each is left out of what is compared.

Remove a name together with the change of the check that makes it true. `tests/oracle/run --all` compares all the same.
"""

NAMES = {
    # [UNREPLIED] is the only word between two tuples that is no attribute: others may be what became of it
    "a word between the tuples",
    # a refusal names the option, also if its value is not UTF-8
    "a range that is no UTF-8 is refused with the name of its option",
    # a table that is above its warning threshold and will be full before the next check is CRITICAL
    "full before the next check",
    # the range that decides is the one that is printed: these values have fractions, so rounding their ends changes it
    "thresholds of growth and full_in are rounded",
}
