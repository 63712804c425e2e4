"""What scripts for earlier releases do with channels and buffers by hand."""

from __future__ import annotations

import pytest

from pssh.clients.base import arrivals
from pssh.clients.base.seam import STDERR, STDOUT, WOULD_BLOCK, Channel
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import Timeout
from tests.contract.conftest import Connect
from tests.contract.outputs import WAITS, answer, eventually, lines, stdin, stdout
from tests.servers.cut_proxy import CutProxy


def read_all(client: BaseSSHClient, channel: Channel) -> bytes:
    """Read a channel's standard output by hand."""
    data = b""
    while part := client.eagain(channel.read, 0, 65536):
        data += part
    return data


def test_execute(client: BaseSSHClient) -> None:
    with pytest.warns(DeprecationWarning, match="run_command"):
        channel = client.execute("echo $0; test -t 0 || echo none")
    assert isinstance(channel, Channel)
    assert read_all(client, channel).splitlines()[-1] == b"none"


def test_execute_with_a_terminal(client: BaseSSHClient) -> None:
    with pytest.warns(DeprecationWarning, match="run_command"):
        channel = client.execute("test -t 0 && echo terminal", use_pty=True)
    assert read_all(client, channel) == b"terminal\r\n"


def test_execute_on_a_given_channel(client: BaseSSHClient) -> None:
    channel = client.open_session()
    with pytest.warns(DeprecationWarning, match="run_command"):
        assert client.execute("echo x", channel=channel) is channel
    assert read_all(client, channel) == b"x\n"
    assert client.eagain(channel.wait_closed) is None
    assert channel.exit_status().status == 0


def test_open_session_eagain_and_close_channel(client: BaseSSHClient) -> None:
    channel = client.open_session()
    client.eagain(channel.request_environment, "PSSH_ONE", "1")
    client.eagain(channel.request_exec, b"echo $PSSH_ONE; cat")
    assert client.eagain(channel.read, 0, 100) == b"1\n"
    client.eagain_write(channel.write, b"some input")
    client.eagain(channel.send_eof)
    assert read_all(client, channel) == b"some input"
    client.close_channel(channel)
    assert lines(client.run_command("echo next")) == ["next"]


def test_eagain_write_of_much(client: BaseSSHClient) -> None:
    channel = client.open_session()
    client.eagain(channel.request_exec, b"wc -c")
    client.eagain_write(channel.write, b"x" * 10_000_000)
    client.eagain(channel.send_eof)
    assert read_all(client, channel) == b"10000000\n"


def test_the_server_need_not_wait_for_an_acknowledgement(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenSSH sends its host keys before it answers, and then nothing until it knows that they have
    # come.
    told: list[object] = []
    monkeypatch.setattr(arrivals, "acknowledge", told.append)
    assert lines(connect().run_command("echo x")) == ["x"]
    assert told


def test_read_pieces(client: BaseSSHClient) -> None:
    channel = client.open_session()
    client.eagain(channel.request_exec, b"seq 1 900000; echo said >&2")
    data, most = b"", 0
    # In turns: neither may leave anything out, or take it twice.
    while pieces := client.eagain(channel.read_pieces, STDOUT, 65536):
        assert all(pieces)
        most = max(most, sum(map(len, pieces)))
        data += b"".join(pieces) + client.eagain(channel.read, STDOUT, 1000)
    assert data == b"".join(b"%d\n" % number for number in range(1, 900001))
    assert most < 1_000_000
    assert b"".join(client.eagain(channel.read_pieces, STDERR, 100)) == b"said\n"
    assert client.eagain(channel.read_pieces, STDERR, 100) == ()
    client.close_channel(channel)


def test_poll(client: BaseSSHClient) -> None:
    channel = client.open_session()
    client.eagain(channel.request_exec, b"cat")
    assert channel.read(0, 100) is WOULD_BLOCK
    client.poll(timeout=0.05)
    client.eagain(channel.write, b"x")
    while (data := channel.read(0, 100)) is WOULD_BLOCK:
        client.poll()
    assert data == b"x"


def test_close_channel_ends_a_command(client: BaseSSHClient) -> None:
    output = client.run_command(f"echo x; {WAITS}; echo not reached", use_pty=True)
    assert next(stdout(output)) == "x"
    client.close_channel(output.channel)
    client.wait_finished(output)
    assert "not reached" not in lines(output)
    client.close_channel(output.channel)
    assert lines(client.run_command("echo next")) == ["next"]


def test_close_channel_of_nothing(client: BaseSSHClient) -> None:
    client.close_channel(None)
    client.close_channel(client.open_session())
    assert lines(client.run_command("echo next")) == ["next"]


def test_finished_and_get_exit_status(client: BaseSSHClient) -> None:
    output = client.run_command(f"{WAITS}; exit 9")
    assert not client.finished(output.channel)
    assert client.get_exit_status(output.channel) is None
    stdin(output).close()
    client.wait_finished(output)
    assert client.finished(output.channel)
    assert client.get_exit_status(output.channel) == 9
    assert client.finished(None)
    assert client.get_exit_status(None) is None


def test_asking_costs_no_network(connect: Connect, proxy: CutProxy) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    output = client.run_command("exit 9")
    waiting = client.run_command(WAITS)
    client.wait_finished(output)
    proxy.stall()
    for _ in range(100):
        assert output.exit_code == 9
        assert client.get_exit_status(output.channel) == 9
        assert client.finished(output.channel)
        assert waiting.exit_code is None
        assert not client.finished(waiting.channel)


def test_read_output(client: BaseSSHClient) -> None:
    output = client.run_command("echo x; printf '\\377y'; echo e >&2")
    assert output.buffers is not None
    assert list(client.read_output(output.buffers.stdout.rw_buffer)) == [b"x", b"\xffy"]
    assert list(client.read_stderr(output.buffers.stderr.rw_buffer)) == [b"e"]


def test_read_output_timeout(client: BaseSSHClient) -> None:
    output = client.run_command("read answer; echo x; echo e >&2")
    assert output.buffers is not None
    for read, buffer in (
        (client.read_output, output.buffers.stdout.rw_buffer),
        (client.read_stderr, output.buffers.stderr.rw_buffer),
    ):
        with pytest.raises(Timeout):
            next(read(buffer, timeout=0.05))
    answer(output)
    assert list(client.read_output(output.buffers.stdout.rw_buffer, timeout=25)) == [b"x"]
    assert list(client.read_stderr(output.buffers.stderr.rw_buffer, timeout=25)) == [b"e"]


def test_read_output_buffer(client: BaseSSHClient, host_log: pytest.LogCaptureFixture) -> None:
    called: list[object] = []
    output = client.run_command("echo x; echo y")
    read = client.read_output_buffer(
        stdout(output),
        prefix="\t[p]",
        callback=lambda *args: called.append(args),
        callback_args=("a", 1),
    )
    assert next(read) == "x"
    assert called == []
    assert list(read) == ["y"]
    assert called == [("a", 1)]
    assert host_log.messages == [f"[{client.host}]\t[p]\tx", f"[{client.host}]\t[p]\ty"]
    assert list(client.read_output_buffer([b"\xe9"], encoding="latin-1")) == ["é"]


def test_buffers(client: BaseSSHClient) -> None:
    output = client.run_command("printf 12345; printf 123 >&2; cat")
    assert output.buffers is not None
    out, err = output.buffers.stdout, output.buffers.stderr
    eventually(lambda: (len(out.rw_buffer), len(err.rw_buffer)) == (5, 3), "the output")
    assert not out.reader.ready()
    out.reader.join(0.01)
    assert list(out.rw_buffer.read()) == [b"12345"]
    assert list(out.rw_buffer.read()) == []
    assert not out.rw_buffer.eof
    stdin(output).close()
    out.reader.join()
    assert err.reader.ready()
    assert out.rw_buffer.eof
