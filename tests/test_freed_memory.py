"""Memory that was used is kept for what comes next, instead of being found page by page again."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Frees a megabyte in small pieces again and again; prints how many pages had to be found for it.
PROGRAM = """
import resource, sys
from pssh.clients.base import freed_memory
if sys.argv[1] == "kept":
    freed_memory.keep(8 * 1024 * 1024)
def fill():
    pieces = [bytes([1]) * 32768 for _ in range(32)]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """How many pages the program had to be given."""
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="What the C library does is its own affair.")
def test_pages_are_found_once() -> None:
    assert faults("kept") < 1000 < faults("given back")
