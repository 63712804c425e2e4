"""Connections that end in the middle: what arrived can be read, and nothing looks complete."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.config import HostConfig
from pssh.exceptions import ConnectionLostError, PSSHError, Timeout
from pssh.output import HostOutput
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import (
    WAITS,
    answer,
    eventually,
    lines,
    stderr,
    stdin,
    stdout,
    stdout_buffer,
)
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer

End = Callable[[], None]


@pytest.fixture
def through_proxy(connect: Connect, proxy: CutProxy) -> BaseSSHClient:
    """A client whose connection runs through ``proxy``."""
    return connect(port=proxy.port, host_key_policy="ignore")


@pytest.fixture(params=["reset", "end of file", "server process killed"])
def end_connection(request: pytest.FixtureRequest, proxy: CutProxy, sshd: OpenSSHServer) -> End:
    """A function that ends the connections through ``proxy``, each in its own way."""
    ways: dict[str, End] = {
        "reset": proxy.cut,
        "end of file": proxy.half_close,
        "server process killed": sshd.kill_connections,
    }
    return ways[request.param]


def assert_lost(output: HostOutput) -> None:
    """Check everything that says that a connection was lost."""
    assert isinstance(output.exception, ConnectionLostError)
    assert isinstance(output.exception, ConnectionError)
    assert output.exception.host == output.host
    assert output.exit_code is None
    assert output.exit_signal is None
    for reader in (stdout(output), stderr(output)):
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="was lost"):
                next(reader)


def read_until_lost(output: HostOutput) -> list[bytes]:
    """Read lines of bytes until the error that says that there would have been more."""
    read: list[bytes] = []
    with pytest.raises(ConnectionLostError):
        for line in stdout(output):
            assert isinstance(line, bytes)
            read.append(line)
    return read


def test_what_arrived_can_be_read(through_proxy: BaseSSHClient, end_connection: End) -> None:
    output = through_proxy.run_command(f"printf 'one\\ntwo\\nthr'; echo e >&2; {WAITS}")
    eventually(lambda: len(stdout_buffer(output)) == 11, "the output")
    assert output.buffers is not None
    errors = output.buffers.stderr.rw_buffer
    eventually(lambda: len(errors) == 2, "the standard error")
    end_connection()
    reader = stdout(output)
    assert [next(reader), next(reader), next(reader)] == ["one", "two", "thr"]
    with pytest.raises(ConnectionLostError):
        next(reader)
    assert next(stderr(output)) == "e"
    assert_lost(output)


def test_readers_are_woken(through_proxy: BaseSSHClient, end_connection: End) -> None:
    output = through_proxy.run_command(f"echo x; {WAITS}")
    assert next(stdout(output)) == "x"
    readers = [gevent.spawn(lines, output), gevent.spawn(through_proxy.wait_finished, output)]
    gevent.sleep(0)
    end_connection()
    gevent.joinall(readers)
    assert isinstance(readers[0].exception, ConnectionLostError)
    assert readers[1].successful()
    assert_lost(output)


def test_other_hosts_are_not_affected(
    connect_all: ConnectAll, sshd: OpenSSHServer, proxy: CutProxy
) -> None:
    config = [HostConfig(port=proxy.port), HostConfig(port=sshd.port)]
    client = connect_all(2, host_config=config, host_key_policy="ignore")
    outputs = client.run_command(f"echo x; {WAITS}")
    assert [next(stdout(output)) for output in outputs] == ["x", "x"]
    proxy.cut()
    assert next(client.as_completed()) is outputs[0]
    assert_lost(outputs[0])
    answer(outputs[1], "more")
    stdin(outputs[1]).close()
    client.join()
    assert lines(outputs[1]) == ["more"]
    assert outputs[1].exit_code == 0
    assert outputs[1].exception is None
    again = client.run_command("echo again")
    assert [lines(output) for output in again] == [["again"]] * 2


def test_watching_hosts_of_which_one_is_lost(connect_all: ConnectAll, proxy: CutProxy) -> None:
    lost = HostConfig(port=proxy.port, host_key_policy="ignore")
    client = connect_all(2, host_config=[HostConfig(), lost])
    command = "echo one; read answer; echo two"
    outputs = client.run_command(command)
    completed, stream = client.as_completed(outputs), client.stream_output(outputs)
    assert {next(stream)[0] for _ in range(2)} == set(outputs)
    proxy.cut()
    assert next(completed) is outputs[1]
    assert_lost(outputs[1])
    answer(outputs[0])
    assert list(stream) == [(outputs[0], "stdout", "two")]
    assert list(completed) == [outputs[0]]
    assert outputs[0].exit_code == 0


def test_join_does_not_hang(connect_all: ConnectAll, proxy: CutProxy, end_connection: End) -> None:
    client = connect_all(3, port=proxy.port, host_key_policy="ignore")
    outputs = client.run_command(f"echo x; {WAITS}")
    joined = [
        gevent.spawn(client.join),
        gevent.spawn(client.join, timeout=25),
        gevent.spawn(lambda: list(client.stream_output())),
        gevent.spawn(lambda: list(client.as_completed())),
    ]
    gevent.sleep(0)
    end_connection()
    gevent.joinall(joined, raise_error=True)
    client.join(consume_output=True)
    assert client.finished()
    assert len(joined[3].value) == 3
    for output in outputs:
        assert_lost(output)


@pytest.mark.parametrize("count", [1, 1000, 100_000, 3_000_000])
def test_cut_in_the_middle_of_output(
    through_proxy: BaseSSHClient, proxy: CutProxy, count: int
) -> None:
    output = through_proxy.run_command("read answer; seq 1 10000000", encoding=None)
    proxy.cut_after(count)
    answer(output)
    read = read_until_lost(output)
    assert_lost(output)
    whole = b"".join(b"%d\n" % number for number in range(1, len(read) + 1))
    got = b"\n".join(read)
    assert whole.startswith(got)
    assert len(got) <= count


def test_all_commands_of_a_connection_are_lost(
    through_proxy: BaseSSHClient, end_connection: End
) -> None:
    outputs = [through_proxy.run_command(f"echo {number}; {WAITS}") for number in range(5)]
    for number, output in enumerate(outputs):
        assert next(stdout(output)) == str(number)
    end_connection()
    for output in outputs:
        through_proxy.wait_finished(output)
        assert_lost(output)


def test_a_finished_command_stays_what_it_was(
    through_proxy: BaseSSHClient, end_connection: End
) -> None:
    output = through_proxy.run_command("echo x; exit 3")
    through_proxy.wait_finished(output)
    waiting = through_proxy.run_command(WAITS)
    end_connection()
    through_proxy.wait_finished(waiting)
    assert_lost(waiting)
    assert lines(output) == ["x"]
    assert output.exit_code == 3
    assert output.exception is None


def test_input_of_a_lost_command(through_proxy: BaseSSHClient, end_connection: End) -> None:
    output = through_proxy.run_command(WAITS)
    end_connection()
    through_proxy.wait_finished(output)
    for act in (
        lambda: stdin(output).write("x"),
        lambda: output.send_signal("TERM"),
        lambda: output.terminate(),
        lambda: stdin(output).close(),
    ):
        with contextlib.suppress(PSSHError):
            act()
    assert_lost(output)


def test_a_write_that_waits_is_woken(through_proxy: BaseSSHClient, end_connection: End) -> None:
    output = through_proxy.run_command("read line; echo $line")
    # Not as an argument: gevent prints those of a greenlet that fails.
    written = gevent.spawn(lambda: stdin(output).write(b"x" * 100_000_000))
    gevent.sleep(0)
    end_connection()
    written.join()
    assert isinstance(written.exception, ConnectionLostError)
    assert_lost(output)


def test_input_source_ends_with_the_connection(
    through_proxy: BaseSSHClient, end_connection: End
) -> None:
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 65536

    output = through_proxy.run_command("cat >/dev/null", stdin=source())
    eventually(lambda: taken > 10, "some input to be sent")
    end_connection()
    through_proxy.wait_finished(output)
    assert_lost(output)
    before = taken
    assert lines(through_proxy.run_command("echo next")) == ["next"]
    assert taken <= before + 1


def test_a_new_command_opens_a_new_connection(
    through_proxy: BaseSSHClient, proxy: CutProxy, end_connection: End
) -> None:
    output = through_proxy.run_command(WAITS)
    end_connection()
    through_proxy.wait_finished(output)
    assert lines(through_proxy.run_command("echo next")) == ["next"]
    assert proxy.accepted == 2
    assert_lost(output)


def test_an_idle_connection_that_the_server_closed(
    through_proxy: BaseSSHClient, proxy: CutProxy, end_connection: End
) -> None:
    assert lines(through_proxy.run_command("echo first")) == ["first"]
    end_connection()
    assert lines(through_proxy.run_command("echo second")) == ["second"]
    assert proxy.accepted == 2


def test_a_lost_connection_keeps_no_descriptor(
    through_proxy: BaseSSHClient, proxy: CutProxy, end_connection: End
) -> None:
    """It may be the last command on that host, of thousands."""
    outputs = [through_proxy.run_command(f"echo x; {WAITS}") for _ in range(2)]
    assert [next(stdout(output)) for output in outputs] == ["x", "x"]
    connection = through_proxy.connection
    assert connection is not None
    before = set(os.listdir("/proc/self/fd"))
    end_connection()
    for output in outputs:
        through_proxy.wait_finished(output)
        assert_lost(output)
    eventually(lambda: connection.sock.fileno() == -1, "the socket to be closed")
    # Nor does anything that stood in for it.
    assert not set(os.listdir("/proc/self/fd")) - before
    # It is told of as before.
    with pytest.raises(ConnectionLostError, match="was lost"):
        connection.open_session()
    assert lines(through_proxy.run_command("echo next")) == ["next"]


def test_a_stalled_start_times_out(through_proxy: BaseSSHClient, proxy: CutProxy) -> None:
    running = through_proxy.run_command(f"echo x; {WAITS}; echo end")
    assert next(stdout(running)) == "x"
    proxy.stall()
    with pytest.raises(Timeout, match="open a channel"):
        through_proxy.run_command("true", timeout=0.1)
    running.read_timeout = 0.05
    with pytest.raises(Timeout):
        next(stdout(running))
    proxy.resume()
    running.read_timeout = None
    stdin(running).close()
    assert lines(running) == ["end"]
    assert running.exit_code == 0
    assert lines(through_proxy.run_command("echo next")) == ["next"]


def test_closed_by_this_client(client: BaseSSHClient) -> None:
    output = client.run_command(f"echo x; {WAITS}")
    eventually(lambda: len(stdout_buffer(output)) == 2, "the output")
    reader = gevent.spawn(lines, output)
    gevent.sleep(0)
    client.close()
    client.wait_finished(output)
    with pytest.raises(ConnectionLostError, match="this client"):
        reader.get()
    assert isinstance(output.exception, ConnectionLostError)
    assert output.exit_code is None
    assert lines(client.run_command("echo next")) == ["next"]


def test_held_back_output_can_be_read_after_the_loss(
    connect: Connect, proxy: CutProxy, end_connection: End
) -> None:
    client = connect(
        port=proxy.port, host_key_policy="ignore", buffer_size=65536, buffer_overflow="block"
    )
    output = client.run_command("seq 1 10000000", encoding=None)
    eventually(lambda: len(stdout_buffer(output)) >= 65536, "a full buffer")
    end_connection()
    read = read_until_lost(output)
    got = b"\n".join(read)
    assert len(got) >= 65536
    assert b"".join(b"%d\n" % number for number in range(1, len(read) + 1)).startswith(got)
    assert_lost(output)


def test_a_lost_connection_closes_no_descriptor_of_others(
    connect: Connect, proxy: CutProxy
) -> None:
    """A library that closes its socket by itself gives the number to whoever comes next."""
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 65536

    for _ in range(10):
        client = connect(port=proxy.port, host_key_policy="ignore")
        output = client.run_command("cat > /dev/null", stdin=source())
        enough = taken + 20
        eventually(lambda: taken > enough, "some input to be sent")  # noqa: B023
        proxy.cut()
        with pytest.raises(ConnectionLostError):
            list(stdout(output))
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]

        client.close()
        del client, output
        gc.collect()

        for descriptor in others:
            os.fstat(descriptor)
            os.close(descriptor)
