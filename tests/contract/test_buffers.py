"""Output that waits: memory stays bounded, and every byte comes in order."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError
from pssh.output import HostOutput
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import (
    WAITS,
    eventually,
    lines,
    stderr,
    stdin,
    stdout,
    stdout_buffer,
)

MEGABYTE = 1024 * 1024

#: Prints blocks of 32,000 bytes without end and says in a file how many.
COUNTED = (
    "block=$(head -c 31999 /dev/zero | tr '\\0' x); count=0; "
    'while [ $count -lt %d ]; do echo "$block"; count=$((count+1)); echo $count >%s; done'
)


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_count(path: Path) -> int:
    """The number in a file that may just be written."""
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def wait_until_unchanged(path: Path) -> int:
    """Wait until a counter stands still while this connection has nothing else to do."""
    last = [-1]

    def same() -> bool:
        gevent.sleep(0.2)
        count = read_count(path)
        unchanged = count == last[0] and count > 0
        last[0] = count
        return unchanged

    eventually(same, "the command to be held back")
    return last[0]


def test_nobody_waits_in_vain_for_a_command_that_is_held_back(connect: Connect) -> None:
    client = connect(buffer_overflow="block", buffer_size=1000, keepalive_seconds=0)
    output = client.run_command("seq 1000000; echo end >&2")
    for wait in (lambda: list(stderr(output)), lambda: client.wait_finished(output)):
        # gevent knows that only where the loop waits for nothing else.
        with pytest.raises(InvalidAPIUseError, match="held back"):
            wait()
    assert len(lines(output)) == 1_000_000
    assert list(stderr(output)) == ["end"]


def test_block_holds_the_command_back(connect: Connect, remote_folder: Path) -> None:
    counter = remote_folder / "counter"
    client = connect(buffer_size=256 * 1024, buffer_overflow="block")
    before = resident()
    output = client.run_command(COUNTED % (2500, counter), encoding=None)
    count = wait_until_unchanged(counter)
    assert count < 1000
    assert 256 * 1024 <= len(stdout_buffer(output)) <= 512 * 1024
    assert resident() - before < 24 * MEGABYTE
    assert output.exit_code is None
    assert lines(client.run_command("echo meanwhile")) == ["meanwhile"]
    assert read_count(counter) == count
    read = 0
    for line in stdout(output):
        assert line == b"x" * 31999
        read += 1
    assert read == 2500
    assert resident() - before < 24 * MEGABYTE
    assert output.exit_code == 0


def test_file_keeps_the_command_running(connect: Connect, remote_folder: Path) -> None:
    counter = remote_folder / "counter"
    client = connect(buffer_size=256 * 1024)
    before = resident()
    output = client.run_command(COUNTED % (2000, counter), encoding=None)
    client.wait_finished(output)
    assert output.exit_code == 0
    assert read_count(counter) == 2000
    assert len(stdout_buffer(output)) == 2000 * 32000
    assert resident() - before < 24 * MEGABYTE
    assert sum(line == b"x" * 31999 for line in stdout(output)) == 2000
    assert len(stdout_buffer(output)) == 0


def test_unread_output_comes_in_order(client: BaseSSHClient) -> None:
    output = client.run_command("seq 1 9000000", encoding=None)
    client.wait_finished(output)
    assert len(stdout_buffer(output)) > 64 * MEGABYTE
    expected = subprocess.run(["seq", "1", "9000000"], check=True, capture_output=True).stdout
    found = hashlib.sha256()
    size = 0
    for chunk in stdout_buffer(output):
        found.update(chunk)
        size += len(chunk)
    assert size == len(expected)
    assert found.digest() == hashlib.sha256(expected).digest()


def test_reading_while_it_is_written(connect: Connect) -> None:
    client = connect(buffer_size=4096)
    output = client.run_command("seq 1 2000000")
    for number, line in enumerate(stdout(output), start=1):
        assert line == str(number)
        if number % 100_000 == 0:
            gevent.sleep(0.01)
    assert number == 2_000_000
    assert output.exit_code == 0


@pytest.mark.parametrize("overflow", ["file", "block"])
@pytest.mark.parametrize("size", [1, 1000])
def test_small_buffers(connect: Connect, overflow: str, size: int) -> None:
    client = connect(buffer_size=size, buffer_overflow=overflow)
    output = client.run_command("seq 1 20000; seq 1 20000 >&2; exit 3")
    expected = [str(number) for number in range(1, 20001)]
    errors = gevent.spawn(lambda: list(stderr(output)))
    assert lines(output) == expected
    assert errors.get() == expected
    assert output.exit_code == 3


def test_both_streams_are_large(client: BaseSSHClient) -> None:
    output = client.run_command("seq 1 1000000 & seq 1 1000000 >&2; wait")
    errors = gevent.spawn(lambda: list(stderr(output)))
    expected = [str(number) for number in range(1, 1_000_001)]
    assert lines(output) == expected
    assert errors.get() == expected


@pytest.mark.parametrize("first", ["stdout", "stderr"])
def test_reading_only_one_stream(client: BaseSSHClient, first: str) -> None:
    output = client.run_command("seq 1 800000 & seq 1 800000 >&2; wait; exit 2")
    streams = {"stdout": stdout(output), "stderr": stderr(output)}
    assert sum(1 for _ in streams.pop(first)) == 800_000
    assert output.exit_code == 2
    (other,) = streams.values()
    assert sum(1 for _ in other) == 800_000


def test_closing_while_output_is_unread(connect: Connect) -> None:
    client = connect(buffer_size=256 * 1024)
    output = client.run_command("seq 1 3000000; cat", encoding=None)
    eventually(lambda: len(stdout_buffer(output)) > 20 * MEGABYTE, "the output")
    client.close()
    number = 0
    with pytest.raises(ConnectionLostError, match="this client"):
        for number, line in enumerate(stdout(output), start=1):
            assert line == b"%d" % number
    assert number > 2_000_000
    assert output.exit_code is None


@pytest.mark.parametrize("overflow", ["file", "block"])
def test_closing_a_command_that_floods(connect: Connect, overflow: str) -> None:
    client = connect(buffer_overflow=overflow)
    output = client.run_command("yes", encoding=None)
    eventually(lambda: len(stdout_buffer(output)) >= MEGABYTE, "the output")
    client.close()
    client.wait_finished(output)
    assert isinstance(output.exception, ConnectionLostError)
    assert output.exit_code is None


def test_output_that_is_dropped_frees_its_files(connect: Connect) -> None:
    client = connect(buffer_size=65536)

    def temporary_files() -> int:
        links = [
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")
        ]
        return sum("(deleted)" in link for link in links)

    before = temporary_files()
    output: HostOutput | None = client.run_command("seq 1 100000")
    assert output is not None
    client.wait_finished(output)
    assert temporary_files() > before
    output = None
    eventually(lambda: temporary_files() == before, "the files to be closed")


def test_stream_output_is_bounded(connect_all: ConnectAll, remote_folder: Path) -> None:
    counter = remote_folder / "counter"
    client = connect_all(2, buffer_overflow="block", buffer_size=256 * 1024)
    outputs = client.run_command("%s", host_args=[COUNTED % (2500, counter), f"echo y; {WAITS}"])
    before = resident()
    stream = client.stream_output()
    seen = [next(stream) for _ in range(50)]
    assert wait_until_unchanged(counter) < 2000
    assert resident() - before < 64 * MEGABYTE
    stdin(outputs[1]).close()
    seen.extend(stream)
    assert [line for output, _, line in seen if output is outputs[1]] == ["y"]
    assert sum(output is outputs[0] for output, _, _ in seen) == 2500


def test_join_with_block_and_consume_output(connect_all: ConnectAll) -> None:
    client = connect_all(2, buffer_overflow="block", buffer_size=65536)
    outputs = client.run_command("seq 1 200000")
    client.join(consume_output=True)
    assert [output.exit_code for output in outputs] == [0, 0]
