"""`ci/demo`: what it shows, and that nothing is left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as a child whose temporary files are in `tmp_path`."""
    home = tmp_path / "home"
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-u", str(CHECKOUT / "ci" / "demo.py")],
        env={
            **os.environ,
            "HOME": str(home),
            "PYTHONPATH": str(CHECKOUT),
            "TMPDIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        yield process
        if process.poll() is None:
            process.kill()


def processes_using(folder: Path) -> list[str]:
    """The command lines of the processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(folder) in command:
            found.append(command)
    return found


def port_in(shown: str) -> int:
    found = re.search(r"\(port (\d+)\)", shown)
    assert found is not None, shown
    return int(found[1])


def sockets_of(port: int) -> list[str]:
    """What listens or is connected on a local port. A process of a connection has no other sign."""
    established, listening = "01", "0A"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [
        line
        for line in lines
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] in (established, listening)
    ]


def assert_nothing_is_left(tmp_path: Path, port: int) -> None:
    assert processes_using(tmp_path) == []
    assert sockets_of(port) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]
    assert list((tmp_path / "home").iterdir()) == []


def test_demo_shows_eight_hosts_and_the_script(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert "Traceback" not in output
    shown, _, script = output.partition("The script that printed this:")

    hosts = re.split(r"^(?=127\.0\.0\.\d: )", shown, flags=re.MULTILINE)[1:]
    codes = ["0", "0", "0", "2", "0", "0", "0", "None"]
    assert [host.splitlines()[0] for host in hosts] == [
        f"127.0.0.{number}: exit code {code}" for number, code in enumerate(codes, start=1)
    ]
    assert hosts[0].splitlines()[1].startswith("    Linux")
    assert "/no/such/folder" in hosts[3]
    assert re.search(r"    error: .*127\.0\.0\.8.*refused", hosts[7])
    assert "client.run_command(" in script
    assert_nothing_is_left(tmp_path, port_in(shown))


def test_demo_leaves_nothing_when_it_is_ended(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    assert demo.stdout is not None
    first = demo.stdout.readline()  # the server runs by then
    assert first.startswith("A command on eight hosts"), first
    assert processes_using(tmp_path) != []
    assert sockets_of(port_in(first)) != []
    demo.send_signal(signal.SIGTERM)
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGTERM, said
    assert_nothing_is_left(tmp_path, port_in(first))
