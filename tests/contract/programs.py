"""Programs of their own, for what cannot be tried inside the process of the tests."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import IO, Protocol

from tests.servers.template import Template

CHECKOUT = Path(__file__).resolve().parents[2]

#: Options of the interpreter.
OPTIONS = ("-X", "faulthandler", "-W", "error::ResourceWarning")

#: Seconds that a program may take; what takes longer hangs.
TIMEOUT = 20

_BEGINNING = """\
{prologue}
import gc, importlib, os, sys, traceback
library = importlib.import_module({module!r})
host, settings = {host!r}, {settings!r}
"""


class RunProgram(Protocol):
    """Runs the lines of a program, which has ``library``, ``host`` and ``settings``.

    It must end quickly and by itself, with exit code 0, and must not print anything: no warning
    and no complaint of the interpreter. ``prologue`` comes before every import, and only with one
    the program has an interpreter of its own from the start: others are copies of one that has
    loaded the library, which is most of what they would cost. What that has loaded is frozen for
    the collector; a program about the end of the interpreter calls ``gc.unfreeze`` first, so that
    everything is taken apart.
    """

    def __call__(self, source: str, *, prologue: str = "", home: Path | None = None) -> None: ...


def run(source: str, home: Path | None) -> None:
    """Run a program in an interpreter of its own and check how it ended.

    :param home: its home folder, by default this process's.
    """
    program = subprocess.Popen(
        [sys.executable, *OPTIONS, "-c", source],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(home),
    )
    with program:
        try:
            said, _ = program.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            # It says where it hangs.
            program.send_signal(signal.SIGABRT)
            said, _ = program.communicate(timeout=TIMEOUT)
            raise AssertionError(f"The program has not ended by itself: {said}") from None
        finally:
            program.kill()
    assert program.returncode == 0, f"exit code {program.returncode}: {said}"
    assert said == "", said


def run_copy(template: Template, source: str, home: Path | None) -> None:
    """As :func:`run`, where an interpreter that has loaded the library is what a program needs.

    :param template: has loaded it, with :data:`OPTIONS`.
    """
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as output:
        with open(writing, "wb") as theirs, open(os.devnull, "rb") as nothing:
            streams = (nothing.fileno(), theirs.fileno(), theirs.fileno())
            program = template.start(source, streams, _environment(home))
        try:
            said = _read_to_end(output, program.pid)
            code = program.wait(TIMEOUT)
        finally:
            if program.poll() is None:
                os.kill(program.pid, signal.SIGKILL)
                program.wait()
    assert code == 0, f"exit code {code}: {said}"
    assert said == "", said


def _environment(home: Path | None) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    if home is not None:
        environment["HOME"] = str(home)
    return environment


def _read_to_end(output: IO[bytes], pid: int) -> str:
    """What a program says until it and all that it started have ended."""
    deadline = time.monotonic() + TIMEOUT
    said = b""
    while True:
        ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            # It says where it hangs.
            os.kill(pid, signal.SIGABRT)
            select.select([output], [], [], TIMEOUT)
            said += output.read(64 * 1024)
            raise AssertionError(f"The program has not ended by itself: {said.decode()}")
        data = output.read(64 * 1024)
        if not data:
            return said.decode()
        said += data


def assemble(
    source: str, *, prologue: str, module: str, host: str, settings: dict[str, object]
) -> str:
    """Put a program together."""
    beginning = _BEGINNING.format(prologue=prologue, module=module, host=host, settings=settings)
    return beginning + textwrap.dedent(source)
