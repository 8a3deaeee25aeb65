"""Rust source files as the checks of this folder see them: code without comments and literals, and comment blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LITERAL = re.compile(
    r"""//[^\n]*                                   # a comment to the end of the line
      | /\*.*?\*/                                  # a comment block
      | b?r(?P<hashes>\#*)".*?"(?P=hashes)         # a raw string
      | b?"(?:\\.|[^"\\])*"                        # a string
      | b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\\n])'    # a character, not a lifetime
    """,
    re.VERBOSE | re.DOTALL,
)


def without_literals(text):
    """The text with comments and literals taken out, and every line where it was."""
    return LITERAL.sub(lambda found: "\n" * found.group().count("\n"), text)


def closing_brace(code, opening):
    """The position of the brace that closes the one at `opening`."""
    depth = 0
    for position in range(opening, len(code)):
        if code[position] == "{":
            depth += 1
        elif code[position] == "}":
            depth -= 1
            if depth == 0:
                return position
    return len(code)


def without_tests(code):
    """The code without its `#[cfg(test)]` items, and every line where it was. Comments and literals are out already."""
    attribute = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*[^{;]*([{;])")
    found = attribute.search(code)
    while found:
        end = closing_brace(code, found.start(1)) if found.group(1) == "{" else found.start(1)
        code = code[: found.start()] + "\n" * code.count("\n", found.start(), end + 1) + code[end + 1 :]
        found = attribute.search(code)
    return code


def files(folder):
    """The Rust files below a folder, in order."""
    return sorted(Path(folder).rglob("*.rs"))


def is_test_module(path):
    """True if a file holds nothing but tests: a module that its parent declares below `#[cfg(test)]`."""
    for parent in (path.parent / "mod.rs", path.parent.with_suffix(".rs"), path.parent / "lib.rs"):
        if parent.is_file() and re.search(rf"#\[cfg\(test\)\]\s*mod {path.stem};", parent.read_text()):
            return True
    return False
