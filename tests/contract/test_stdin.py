"""A command's standard input."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SessionError
from tests.contract.conftest import ConnectAll
from tests.contract.outputs import READS_NOTHING, lines, stdin, stdout
from tests.contract.programs import RunProgram


def _generated() -> Iterator[str | bytes]:
    yield "one\n"
    yield b"two\n"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"one\ntwo\n", id="bytes"),
        pytest.param("one\ntwo\n", id="str"),
        pytest.param(["one\n", "two\n"], id="list of str"),
        pytest.param((b"one\n", b"two\n"), id="tuple of bytes"),
    ],
)
def test_stdin(client: BaseSSHClient, source: str | bytes | Iterable[str | bytes]) -> None:
    output = client.run_command("cat; echo end", stdin=source)
    assert lines(output) == ["one", "two", "end"]
    assert output.exit_code == 0


def test_generator(client: BaseSSHClient) -> None:
    assert lines(client.run_command("cat; echo end", stdin=_generated())) == ["one", "two", "end"]


@pytest.mark.parametrize("source", ["", b"", []])
def test_nothing_is_closed_at_once(client: BaseSSHClient, source: str | bytes | list[str]) -> None:
    output = client.run_command("cat; echo end", stdin=source)
    assert lines(output) == ["end"]


def test_every_host_gets_all_of_it(connect_all: ConnectAll) -> None:
    outputs = connect_all(3).run_command("cat", stdin=_generated())
    assert [lines(output) for output in outputs] == [["one", "two"]] * 3


def test_a_large_stdin(client: BaseSSHClient) -> None:
    megabyte = bytes(range(256)) * 4096
    output = client.run_command("cksum; echo end", stdin=[megabyte] * 16)
    (line, end) = lines(output)
    assert str(line).split()[1] == str(16 * 1024 * 1024)
    assert end == "end"


def test_a_large_stdin_that_comes_back(client: BaseSSHClient) -> None:
    data = b"".join(b"%07d\n" % number for number in range(500_000))
    output = client.run_command("cat", stdin=data, encoding=None)
    assert lines(output) == data.splitlines()


def test_input_that_nobody_reads_is_no_error(client: BaseSSHClient) -> None:
    output = client.run_command("exit 5", stdin=[b"x" * 1024 * 1024] * 8)
    assert lines(output) == []
    client.wait_finished(output)
    assert output.exit_code == 5
    assert output.exception is None


def test_write_flush_close(client: BaseSSHClient) -> None:
    output = client.run_command("cat; echo end")
    assert stdin(output).write("text é\n") == 8
    assert stdin(output).write(b"bytes\n") == 6
    stdin(output).flush()
    assert next(stdout(output)) == "text é"
    assert next(stdout(output)) == "bytes"
    assert not client.finished(output.channel)
    stdin(output).close()
    assert lines(output) == ["end"]


@pytest.mark.parametrize("source", ["", "one\n", "half a line"])
def test_the_end_of_what_is_typed_on_a_terminal(client: BaseSSHClient, source: str) -> None:
    """What reads a terminal does not see the channel's EOF."""
    output = client.run_command("stty -echo; cat; echo; echo end", use_pty=True, stdin=source)
    read = lines(output)
    # What came before the terminal was told not to echo it is there twice.
    assert "".join(map(str, read)).endswith(f"{source.strip()}end")
    assert output.exit_code == 0


def test_text_is_encoded_as_the_command_is(client: BaseSSHClient) -> None:
    output = client.run_command("od -An -tx1", encoding="latin-1")
    assert stdin(output).write("é") == 1
    stdin(output).close()
    assert lines(output) == [" e9"]


def test_text_source_is_encoded_as_the_command_is(client: BaseSSHClient) -> None:
    assert lines(client.run_command("od -An -tx1", stdin="é", encoding="latin-1")) == [" e9"]
    assert lines(client.run_command("od -An -tx1", stdin="é", encoding=None)) == [b" c3 a9"]


def test_closing_twice(client: BaseSSHClient) -> None:
    output = client.run_command("cat")
    stdin(output).close()
    stdin(output).close()
    assert lines(output) == []
    stdin(output).close()
    assert output.exit_code == 0


def test_writing_after_closing(client: BaseSSHClient) -> None:
    output = client.run_command(READS_NOTHING)
    stdin(output).close()
    with pytest.raises(SessionError, match="closed"):
        stdin(output).write("more")


def test_writing_to_a_finished_command(client: BaseSSHClient) -> None:
    output = client.run_command("true")
    client.wait_finished(output)
    with pytest.raises(SessionError, match="finished") as caught:
        stdin(output).write("more")
    assert caught.value.host == client.host


def test_a_write_waits_for_room(client: BaseSSHClient) -> None:
    output = client.run_command(READS_NOTHING)
    written = gevent.spawn(stdin(output).write, b"x" * 64 * 1024 * 1024)
    for number in range(5):
        assert lines(client.run_command(f"echo {number}")) == [str(number)]
    assert not written.ready()
    written.kill()
    assert lines(client.run_command("echo after")) == ["after"]


def test_two_writers_do_not_mix(client: BaseSSHClient) -> None:
    output = client.run_command("cat", encoding=None)
    blocks = [bytes([letter]) * 3_000_000 + b"\n" for letter in b"abc"]
    reader = gevent.spawn(lines, output)
    gevent.joinall([gevent.spawn(stdin(output).write, block) for block in blocks], raise_error=True)
    stdin(output).close()
    assert sorted(reader.get()) == [block[:-1] for block in blocks]


# Files, and sources that are too large for memory


def test_an_open_file(client: BaseSSHClient, connect_all: ConnectAll, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("é\n".encode("latin-1") * 200_000)
    with path.open("rb") as file:
        (line,) = lines(client.run_command("md5sum", stdin=file))
    assert str(line).split()[0] == hashlib.md5(path.read_bytes()).hexdigest()
    for encoding, size in (("latin-1", 400_000), ("utf-8", 600_000)):
        with path.open(encoding="latin-1") as text:
            outputs = connect_all(2).run_command("wc -c", stdin=text, encoding=encoding)
            assert [lines(output) for output in outputs] == [[str(size)]] * 2
    assert lines(client.run_command("cat", stdin=io.StringIO("one\ntwo\n"))) == ["one", "two"]


def test_a_pipe_does_not_block_the_loop(client: BaseSSHClient) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb", buffering=0) as sink:
        output = client.run_command("cat", stdin=source)
        for line in ("one", "two"):
            sink.write(f"{line}\n".encode())
            # What has come is not held until more has.
            assert next(stdout(output)) == line
        assert lines(client.run_command("echo meanwhile")) == ["meanwhile"]
        sink.close()
        assert lines(output) == []


def test_a_program_ends_while_nothing_comes(run_program: RunProgram) -> None:
    """Nothing may wait in one of Python's files then, which would be a fatal error."""
    run_program("""
        gc.unfreeze()
        reading, writing = os.pipe()
        os.dup2(reading, 0)
        client = library.SSHClient(host, **settings)
        for source in (sys.stdin, sys.stdin.buffer):
            output = client.run_command("exit 3", stdin=source)
            client.wait_finished(output)
            assert output.exit_code == 3
        shell = client.open_shell()
        shell.run("sleep 3600")
        output = client.run_command("sleep 3600", on_line=print, command_timeout=3600)
    """)


def test_a_large_source_stays_out_of_memory(connect_all: ConnectAll) -> None:
    """One host reads nothing for a long time. The others do not wait for it."""
    client = connect_all(3)
    client.run_command("true")
    client.join()
    commands = ["wc -c", READS_NOTHING, "wc -c"]
    tracemalloc.start()
    try:
        source = (bytes(128 * 1024) for _ in range(128))
        outputs = client.run_command("%s", host_args=commands, stdin=source)
        assert lines(outputs[0]) == lines(outputs[2]) == [str(16 * 1024 * 1024)]
        (_, peak) = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * 1024 * 1024
    assert not outputs[1].finished


def test_a_source_that_fails(connect_all: ConnectAll) -> None:
    def broken() -> Iterator[str]:
        yield "one\n"
        raise KeyError("mine")

    outputs = connect_all(2).run_command("cat", stdin=broken())
    for output in outputs:
        with pytest.raises(KeyError, match="mine"):
            lines(output)
        assert isinstance(output.exception, KeyError)


def test_a_write_that_waits_when_the_command_ends(client: BaseSSHClient) -> None:
    output = client.run_command("head -c 1000000 > /dev/null; exit 3")
    with pytest.raises(SessionError, match=r"^(Could not|Cannot) write to the command") as caught:
        stdin(output).write(b"x" * 64 * 1024 * 1024)
    assert client.host in str(caught.value)
    client.wait_finished(output)
    assert output.exit_code == 3
