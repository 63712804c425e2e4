"""The line that counts hosts: on a terminal, and nowhere else."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from pssh.exceptions import InvalidAPIUseError
from pssh.fleet import FleetResult, HostResult, HostState
from pssh.progress import Progress

CHECKOUT = Path(__file__).resolve().parent.parent

#: What becomes of three hosts, without a network.
HOSTS = """
import os, sys
import gevent
from pssh.fleet import FleetResult, HostResult, HostState
from pssh.progress import Progress

result = FleetResult(HostResult(index, f"host{index}") for index in range(3))

def change(progress, index, state):
    result[index].state = state
    progress.host_changed(result[index])

def run(progress):
    progress.run_began(result)
    for index, state in enumerate((HostState.OK, HostState.FAILED, HostState.UNREACHABLE)):
        change(progress, index, HostState.CONNECTING)
        gevent.sleep(0.03)
        change(progress, index, state)
"""


def start(
    source: str, *, stdout: int | None = None, stderr: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program; what it may have inherited of a terminal is taken from it."""
    program = HOSTS + textwrap.dedent(source)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "120"}
    made = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=stdout, stderr=stderr
    )
    # One that hangs fails its test, rather than all of them.
    watchdog = threading.Timer(60, made.kill)
    watchdog.daemon = True
    watchdog.start()
    return made


def read_all(terminal: int) -> str:
    """Read what a program has written to its terminal until it has closed it."""
    data = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # so says Linux that nobody has the other side open
            piece = b""
        if not piece:
            os.close(terminal)
            return data.decode()
        data += piece


def test_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    source = """
        with Progress("upgrade", interval=0.01) as progress:
            run(progress)
            print("in between")
        print("afterwards", file=sys.stderr)
    """
    with start(source, stderr=theirs, stdout=subprocess.PIPE) as program:
        os.close(theirs)
        seen = read_all(ours)
        assert program.stdout is not None
        # What does not go to the terminal is not touched.
        assert program.stdout.read() == b"in between\n"
    assert program.returncode == 0, seen
    assert "1 connecting" in seen
    last = seen[seen.rindex("3/3 hosts") :]
    for text in ("1 ok", "1 failed", "1 unreachable"):
        assert text in last
    assert re.search(r"upgrade \S*0:00:\d\d", re.sub(r"\x1b\[\d*m", "", seen))
    assert "in between" not in seen
    assert seen.endswith("afterwards\r\n")


def test_what_is_printed_goes_above_the_line() -> None:
    ours, theirs = pty.openpty()
    source = """
        with Progress(interval=0.01) as progress:
            run(progress)
            print("in between")
    """
    with start(source, stderr=theirs, stdout=theirs) as program:
        os.close(theirs)
        seen = read_all(ours)
    assert program.returncode == 0, seen
    assert seen.rindex("in between") < seen.rindex("3/3 hosts")


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}])
def test_silent_without_a_terminal(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    source = """
        with Progress(interval=0.01) as progress:
            run(progress)
        print(progress.text())
    """
    with start(source, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        out, err = program.communicate(timeout=30)
    assert program.returncode == 0, err
    assert err == b""
    # It counts all the same.
    assert re.fullmatch(rb"0:00:\d\d  3/3 hosts  1 ok  1 failed  1 unreachable\n", out)


def test_a_terminal_that_takes_nothing_holds_nobody_up() -> None:
    ours, theirs = pty.openpty()
    source = """
        with Progress("x" * 100, interval=0.001) as progress:
            progress.run_began(result)
            for number in range(1500):
                change(progress, 0, (HostState.CONNECTING, HostState.RUNNING)[number % 2])
                gevent.sleep(0.001)
            os.write(1, b"done")
    """
    with start(source, stderr=theirs, stdout=subprocess.PIPE) as program:
        os.close(theirs)
        assert program.stdout is not None
        # Nobody reads the terminal until then, and it has room for a part of it all only.
        assert program.stdout.read(4) == b"done"
        seen = read_all(ours)
    assert program.returncode == 0
    assert len(seen) < 1500 * 100


def test_a_dumb_terminal() -> None:
    ours, theirs = pty.openpty()
    source = "os.environ['TERM'] = 'dumb'\nwith Progress() as progress: run(progress)"
    with start(source, stderr=theirs) as program:
        os.close(theirs)
        assert read_all(ours) == ""
    assert program.returncode == 0


def test_several_runs_and_bytes() -> None:
    progress = Progress("copy", file=io.StringIO())
    with progress:
        for size in (2, 1):
            result = FleetResult(HostResult(index, "host") for index in range(size))
            progress.run_began(result)
            for host in result:
                host.state = HostState.RUNNING
                progress.host_changed(host)
                progress.bytes_copied(host, 1_000_000)
        assert progress.text().startswith("copy 0:00:0")
        assert progress.text().endswith("  0/3 hosts  3 running  3.0 MB")
        host.state = HostState.NOT_TRIED
        progress.host_changed(host)
    assert "  1/3 hosts  2 running  1 not tried  3.0 MB" in progress.text()


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(InvalidAPIUseError, match=r"pip install 'parallel-ssh\[progress\]'"):
        Progress()


def test_an_interval_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="interval"):
        Progress(interval=0)


def test_importing_it_imports_no_rich() -> None:
    source = "import pssh.progress\nassert 'rich' not in sys.modules"
    with start(source) as program:
        pass
    assert program.returncode == 0
