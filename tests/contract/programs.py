"""Programs of their own, for what cannot be tried inside the process of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Protocol

CHECKOUT = Path(__file__).resolve().parents[2]

_BEGINNING = """\
{prologue}
import gc, importlib, os, sys, traceback
library = importlib.import_module({module!r})
host, settings = {host!r}, {settings!r}
"""


class RunProgram(Protocol):
    """Runs the lines of a program, which has ``library``, ``host`` and ``settings``.

    It must end quickly and by itself, with exit code 0, and must not print anything: no warning
    and no complaint of the interpreter. ``prologue`` comes before every import.
    """

    def __call__(self, source: str, *, prologue: str = "", home: Path | None = None) -> None: ...


def run(source: str, home: Path | None) -> None:
    """Run a program and check how it ended.

    :param home: its home folder, by default this process's.
    """
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    if home is not None:
        environment["HOME"] = str(home)
    program = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "error::ResourceWarning", "-c", source],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    with program:
        try:
            said, _ = program.communicate(timeout=20)
        finally:
            program.kill()
    assert program.returncode == 0, said
    assert said == "", said


def assemble(
    source: str, *, prologue: str, module: str, host: str, settings: dict[str, object]
) -> str:
    """Put a program together."""
    beginning = _BEGINNING.format(prologue=prologue, module=module, host=host, settings=settings)
    return beginning + textwrap.dedent(source)
