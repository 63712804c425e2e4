"""Patterns of ssh_config(5): ``*`` and ``?``, and lists of them with exceptions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str] | None:
    """Return what a pattern with wildcards matches; ``None`` for one that is just a name."""
    if "*" not in pattern and "?" not in pattern:
        return None
    parts = {"*": ".*", "?": "."}
    text = "".join(parts.get(char, re.escape(char)) for char in re.sub(r"\*+", "*", pattern))
    return re.compile(text, re.DOTALL)


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern matches a whole name, letter case and all."""
    if name == pattern:
        return True
    expression = _expression(pattern)
    return expression is not None and expression.fullmatch(name) is not None


def host_line_matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether the patterns of a ``Host`` line match: one does, and none after ``!`` does."""
    found = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if matches(name, pattern[1:]):
                return False
        elif not found:
            found = matches(name, pattern)
    return found


def list_matches(name: str, patterns: str, *, lower: bool = False) -> bool:
    """Whether a comma separated list matches: one pattern does, and none after ``!`` does.

    :param lower: for host names: letter case does not matter.
    """
    listed = patterns.split(",")
    if lower:
        name, listed = name.lower(), [pattern.lower() for pattern in listed]
    return host_line_matches(name, listed)
