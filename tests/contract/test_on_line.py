"""`run_command(on_line=…)`: each line is given to a function as it comes."""

from __future__ import annotations

from pathlib import Path

import gevent
import gevent.event
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError, Timeout
from pssh.output import HostOutput, Line
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import WAITS, answer, eventually, lines, stderr, stdin, stdout_buffer
from tests.servers.cut_proxy import CutProxy


class Recorder:
    """Records the lines that it is given; calls for one host must not overlap."""

    def __init__(self) -> None:
        self.calls: list[tuple[HostOutput, str, Line]] = []
        self._inside: set[HostOutput] = set()

    def __call__(self, output: HostOutput, stream: str, line: Line) -> None:
        assert output not in self._inside
        self._inside.add(output)
        gevent.sleep(0)
        self._inside.remove(output)
        self.calls.append((output, stream, line))

    def of(self, output: HostOutput, stream: str) -> list[Line]:
        """The lines of one host's stream."""
        return [line for out, name, line in self.calls if out is output and name == stream]


def test_lines_of_one_host(client: BaseSSHClient) -> None:
    recorder = Recorder()
    output = client.run_command(
        r"echo one; echo error >&2; read a; printf 'caf\351\nend'; exit 3", on_line=recorder
    )
    eventually(lambda: len(recorder.calls) == 2, "two lines")
    assert not output.finished
    answer(output)
    client.wait_finished(output)
    assert recorder.of(output, "stdout") == ["one", r"caf\xe9", "end"]
    assert recorder.of(output, "stderr") == ["error"]
    assert output.exit_code == 3
    assert lines(output) == []


def test_lines_of_many_hosts(connect_all: ConnectAll) -> None:
    client = connect_all(3)
    recorder = Recorder()
    command = "for i in $(seq 1 2000); do echo $i; echo e$i >&2; done"
    outputs = client.run_command(command, on_line=recorder, encoding=None)
    client.join()
    # `join` has waited for the last call.
    assert len(recorder.calls) == 3 * 4000
    for output in outputs:
        assert output.finished
        assert recorder.of(output, "stdout") == [b"%d" % i for i in range(1, 2001)]
        assert recorder.of(output, "stderr") == [b"e%d" % i for i in range(1, 2001)]


def test_a_function_that_is_slow_is_waited_for(connect_all: ConnectAll) -> None:
    client = connect_all(1)
    leave = gevent.event.Event()
    (output,) = client.run_command("echo x", on_line=lambda *_: leave.wait())
    assert output.command is not None
    output.command.done.wait()
    assert not output.finished
    assert not client.finished()
    with pytest.raises(Timeout) as caught:
        client.join(timeout=0.05)
    assert caught.value.unfinished == [output]
    completed = gevent.spawn(list, client.as_completed())
    gevent.sleep(0)
    assert not completed.ready()
    leave.set()
    assert completed.get() == [output]
    client.join()


def test_a_function_that_raises(connect_all: ConnectAll, caplog: pytest.LogCaptureFixture) -> None:
    client = connect_all(2)
    seen: list[Line] = []

    def fails(output: HostOutput, _stream: str, line: Line) -> None:
        if output is not outputs[0]:
            return
        seen.append(line)
        if line == "2":
            raise KeyError("mine")

    outputs = client.run_command("read a; seq 1 4; read a; seq 5 6; exit 5", on_line=fails)
    for output in outputs:
        answer(output)
    eventually(lambda: outputs[0].exception is not None, "the error")
    # It is a matter of this program: no command suffers.
    for output in outputs:
        answer(output)
    with pytest.raises(KeyError, match="mine"):
        client.join()
    assert client.finished()
    assert seen == ["1", "2"]
    assert isinstance(outputs[0].exception, KeyError)
    assert outputs[1].exception is None
    assert [output.exit_code for output in outputs] == [5, 5]
    assert "on_line" in caplog.text
    # What it has not had is there.
    assert [lines(output) for output in outputs] == [["3", "4", "5", "6"], []]
    assert set(client.as_completed()) == set(outputs)


def test_wait_finished_raises_too(client: BaseSSHClient) -> None:
    def fails(*_: object) -> None:
        b"\xff".decode()

    output = client.run_command("echo out; echo error >&2", on_line=fails)
    with pytest.raises(UnicodeDecodeError):
        client.wait_finished(output)
    assert lines(output) + list(stderr(output)) in (["out"], ["error"])


def test_a_command_can_be_ended_from_inside(client: BaseSSHClient) -> None:
    errors: list[Exception] = []

    def stop(output: HostOutput, _stream: str, _line: Line) -> None:
        output.terminate(timeout=25)
        try:
            client.wait_finished(output)
        except InvalidAPIUseError as error:
            errors.append(error)

    output = client.run_command(f"echo x; exec {WAITS}", shell="exec sh -c", on_line=stop)
    client.wait_finished(output)
    assert output.exit_signal == "TERM"
    assert len(errors) == 1


def test_a_connection_that_is_lost(connect: Connect, proxy: CutProxy) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    recorder = Recorder()
    output = client.run_command(f"printf 'one\ntw'; {WAITS}", on_line=recorder)
    eventually(lambda: len(recorder.calls) == 1, "a line")
    proxy.cut()
    client.wait_finished(output)
    assert recorder.of(output, "stdout") == ["one", "tw"]
    assert isinstance(output.exception, ConnectionLostError)


def test_a_slow_function_holds_the_host_back(connect: Connect, remote_folder: Path) -> None:
    client = connect(buffer_size=64 * 1024, buffer_overflow="block")
    size, done = 16 * 1024 * 1024, remote_folder / "done"
    leave = gevent.event.Event()
    seen: list[int] = []

    def slow(_output: HostOutput, _stream: str, line: Line) -> None:
        leave.wait()
        seen.append(len(line))

    command = f"yes {'x' * 1023} | head -c {size}; touch {done}"
    output = client.run_command(command, on_line=slow)
    # Whatever else comes from this host is more recent than what it was told to hold back.
    eventually(lambda: len(stdout_buffer(output)) >= 64 * 1024, "a full buffer")
    for _ in range(20):
        assert lines(client.run_command("echo x")) == ["x"]
    assert len(stdout_buffer(output)) < 1024 * 1024
    assert not done.exists()
    leave.set()
    client.wait_finished(output)
    assert seen == [1023] * (size // 1024)


def test_join_with_consume_output_logs_what_is_left(
    connect_all: ConnectAll, host_log: pytest.LogCaptureFixture
) -> None:
    client = connect_all(1)
    recorder = Recorder()
    client.run_command("seq 1 1000", on_line=recorder)
    client.join(consume_output=True)
    assert len(recorder.calls) == 1000
    assert host_log.messages == []


def test_it_has_to_be_a_function(client: BaseSSHClient, connect_all: ConnectAll) -> None:
    with pytest.raises(TypeError, match="on_line"):
        client.run_command("true", on_line="print")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_line"):
        connect_all(1).run_command("true", on_line="print")  # type: ignore[arg-type]


def test_input_can_be_given_from_inside(client: BaseSSHClient) -> None:
    def reply(output: HostOutput, _stream: str, line: Line) -> None:
        seen.append(line)
        if line == "name?":
            stdin(output).write("somebody\n")

    seen: list[Line] = []
    output = client.run_command("echo 'name?'; read name; echo I am $name", on_line=reply)
    client.wait_finished(output)
    assert seen == ["name?", "I am somebody"]
