"""RANGE as an operator types it: parse, compare, print. From docs/options-and-metrics.md and the monitoring plugin guidelines.

RANGE is [@]START:END. A number has at most 18 digits, a fraction after a point, and no other form. Every comparison is
exact: bounds and values are fractions.
"""

import re
from fractions import Fraction
from math import ceil, floor

INFINITE = float("inf")  # compares correctly with every Fraction
SECONDS = {"s": 1, "m": 60, "h": 3600}
NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
MOST_DIGITS = 18


class Refused(Exception):
    """The text is no range for this metric; the check has to refuse it with exit status 3."""


class Bound:
    """One end of a range: a value, in units or in percent of nf_conntrack_max."""

    def __init__(self, value, percent=False):
        self.value = value
        self.percent = percent and value != 0  # 0 is 0 percent of anything

    def in_units(self, limit):
        """The bound as a plain value. `limit` is the value of 100 percent."""
        return self.value * limit / 100 if self.percent else self.value


def bound(text, suffix):
    """Reads one bound. `suffix` is "%", "time" or None: the suffixes that the metric takes."""
    percent, factor = False, 1
    if suffix == "%" and text.endswith("%"):
        text, percent = text[:-1], True
    elif suffix == "time" and text[-1:] in SECONDS:
        text, factor = text[:-1], SECONDS[text[-1]]
    if not NUMBER.fullmatch(text):
        raise Refused("not a decimal number")
    if sum(c.isdigit() for c in text) > MOST_DIGITS:
        raise Refused("too many digits")
    return Bound(Fraction(text) * factor, percent)


class Range:
    """A range that was accepted. It alerts outside of start to end, or inside with `inside`."""

    def __init__(self, text, suffix=None, percent_is_plain=False):
        self.inside = text.startswith("@")
        body = text[1:] if self.inside else text
        if body.count(":") > 1:
            raise Refused("more than one colon")
        start, colon, end = body.partition(":")
        if not colon:
            start, end = "", body
            if not end:
                raise Refused("no number")
        elif not start and not end:
            raise Refused("no bound")
        if start == "~":
            self.start = Bound(-INFINITE)
        else:
            self.start = bound(start, suffix) if start else Bound(Fraction(0))
        self.end = bound(end, suffix) if end else Bound(INFINITE)
        if percent_is_plain:  # usage is a percentage itself
            self.start.percent = self.end.percent = False
        # bounds of different units are compared when the limit is known
        if self.start.percent == self.end.percent or 0 in (self.start.value, self.end.value):
            if self.start.value > self.end.value:
                raise Refused("start above end")

    def has_percent(self):
        """True if a bound depends on nf_conntrack_max."""
        return self.start.percent or self.end.percent

    def alerts(self, value, limit=None):
        """Compares a value. Without a limit a bound in percent cannot be crossed."""
        if self.has_percent() and limit is None:
            return False
        within = self.start.in_units(limit) <= value <= self.end.in_units(limit)
        return within == self.inside

    def exceeded(self, value, limit=None):
        """True if the range alerts because the value is above its end, also if it is written as @START:.

        A start in percent may be above an end in numbers. A value that is then out of both ends counts as below.
        """
        if self.inside:
            return self.end.value == INFINITE and self.start.value != -INFINITE and self.alerts(value, limit)
        return self.alerts(value, limit) and value > self.end.in_units(limit) and not self.undercut(value, limit)

    def undercut(self, value, limit=None):
        """True if the range alerts because the value is below its start, also if it is written as @~:END."""
        if self.inside:
            return self.start.value == -INFINITE and self.end.value != INFINITE and self.alerts(value, limit)
        return self.alerts(value, limit) and value < self.start.in_units(limit)

    def printed(self, limit=None, whole=False):
        """The text for the performance data, and True if that is a plain number; None if the range cannot be written.

        `whole` is for values that are whole numbers: the start is rounded up and the end down, so that no value is
        judged differently.
        """
        if self.has_percent() and limit is None:
            return None
        start, end = self.start.in_units(limit), self.end.in_units(limit)
        if whole:
            start = start if start == -INFINITE else Fraction(ceil(start))
            end = end if end == INFINITE else Fraction(floor(end))
        if start > end:
            return None
        plain = not self.inside and start in (0, -INFINITE) and end != INFINITE
        if plain:
            return decimal(end), True
        text = "~:" if start == -INFINITE else "" if start == 0 and end != INFINITE else decimal(start) + ":"
        return ("@" if self.inside else "") + text + ("" if end == INFINITE else decimal(end)), False


def decimal(value):
    """A fraction that has a finite decimal form, as a decimal number without trailing zeros."""
    places = 0
    while value.denominator != 1 and (value * 10**places).denominator != 1:
        places += 1
    digits = str(abs((value * 10**places).numerator)).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (digits[:-places] + "." + digits[-places:] if places else digits)


def tenths(value):
    """A measured value with one decimal. Further decimals are cut, so 99.96 is never shown as 100.0."""
    cut = abs(value.numerator) * 10 // value.denominator
    return f"{'-' if value < 0 and cut else ''}{cut // 10}.{cut % 10}"
