"""A command's standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SessionError
from tests.contract.conftest import ConnectAll
from tests.contract.outputs import READS_NOTHING, lines, stdin, stdout


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
