"""Waiting for commands: `join`, `finished`, `as_completed`, `wait_finished`, read time-outs."""

from __future__ import annotations

import io
import logging
import time
from typing import Any

import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import Timeout
from pssh.output import HostOutput
from pssh.utils import host_logger
from tests.contract.conftest import ConnectAll
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

#: One command ends at once and one waits for its input.
ONE_WAITS = {"command": "%s", "host_args": ["echo done", f"{WAITS}; exit 7"]}


# join


def test_join_waits_and_keeps_the_output(connect_all: ConnectAll) -> None:
    client = connect_all(3)
    outputs = client.run_command("seq 1 100000; echo e >&2; exit 2")
    client.join()
    assert [output.exit_code for output in outputs] == [2] * 3
    assert client.finished()
    for output in outputs:
        assert len(lines(output)) == 100_000
        assert list(stderr(output)) == ["e"]


def test_after_join_nothing_blocks(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command("seq 1 300000")
    client.join(outputs)
    client.close()
    assert [len(lines(output)) for output in outputs] == [300_000] * 2


def test_join_before_any_command(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    client.join()
    client.join(timeout=1, consume_output=True)
    assert client.finished()


def test_join_one_output(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command(**ONE_WAITS)  # type: ignore[arg-type]
    client.join(outputs[0])
    assert outputs[0].exit_code == 0
    assert outputs[1].exit_code is None
    client.join([outputs[0]])
    client.join((outputs[0],))
    client.join([])


@pytest.mark.parametrize("wrong", ["a string", 1, {"host": None}, [None], ["host"], object()])
def test_join_wants_outputs(connect_all: ConnectAll, wrong: object) -> None:
    client = connect_all(1)
    with pytest.raises(ValueError, match="HostOutput"):
        client.join(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="HostOutput"):
        client.finished(wrong)  # type: ignore[arg-type]


def test_join_timeout(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command(**ONE_WAITS)  # type: ignore[arg-type]
    client.join(outputs[0])
    parameters: list[dict[str, Any]] = [{}, {"output": outputs}, {"consume_output": True}]
    for options in parameters:
        with pytest.raises(Timeout) as caught:
            client.join(timeout=0.05, **options)
        assert caught.value.args[2] == caught.value.finished == [outputs[0]]
        assert caught.value.args[3] == caught.value.unfinished == [outputs[1]]
        assert "0.05" in str(caught.value)
    stdin(outputs[1]).close()
    client.join(timeout=25)
    assert outputs[1].exit_code == 7


def test_join_timeout_is_for_all_together(connect_all: ConnectAll) -> None:
    client = connect_all(6)
    client.run_command(WAITS)
    began = time.monotonic()
    with pytest.raises(Timeout) as caught:
        client.join(timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 2.5
    assert len(caught.value.unfinished) == 6


def test_join_timeout_of_zero(connect_all: ConnectAll) -> None:
    client = connect_all(1)
    (output,) = client.run_command(WAITS)
    with pytest.raises(Timeout):
        client.join(timeout=0)
    stdin(output).close()
    client.join()
    client.join(timeout=0)


def test_output_after_a_join_that_timed_out(connect_all: ConnectAll) -> None:
    client = connect_all(1)
    (output,) = client.run_command(f"echo first; {WAITS}")
    with pytest.raises(Timeout):
        client.join(timeout=0.05)
    answer(output, "second")
    stdin(output).close()
    client.join()
    assert lines(output) == ["first", "second"]


def test_consume_output(connect_all: ConnectAll, host_log: pytest.LogCaptureFixture) -> None:
    client = connect_all(["127.0.0.1", "localhost"])
    outputs = client.run_command(
        "echo out; printf 'la\\tst'; echo error >&2; exit %s", host_args=["1", "2"]
    )
    client.join(consume_output=True)
    assert sorted(host_log.messages) == sorted(
        f"[{host}]\t{line}"
        for host in ("127.0.0.1", "localhost")
        for line in ("out", "la\tst", "[err]\terror")
    )
    assert {record.name for record in host_log.records} == {"pssh.host_logger"}
    assert [output.exit_code for output in outputs] == [1, 2]
    assert [lines(output) for output in outputs] == [[]] * 2
    assert [list(stderr(output)) for output in outputs] == [[]] * 2


def test_consume_output_of_what_does_not_decode(
    connect_all: ConnectAll, host_log: pytest.LogCaptureFixture
) -> None:
    client = connect_all(1)
    client.run_command(r"printf '\377\nnext\n'")
    client.join(consume_output=True)
    assert len(host_log.messages) == 2
    assert host_log.messages[1] == "[127.0.0.1]\tnext"


def test_without_consume_output_nothing_is_logged(
    connect_all: ConnectAll, host_log: pytest.LogCaptureFixture
) -> None:
    client = connect_all(1)
    client.run_command("echo x")
    client.join()
    assert host_log.messages == []


def test_lines_are_logged_whole(connect_all: ConnectAll) -> None:
    """Whatever pieces they come in, and however long they are."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    level = host_logger.level
    host_logger.addHandler(handler)
    host_logger.setLevel(logging.INFO)
    command = (
        "for i in 1 2 3 4 5; do for stream in 1 2; do printf $i >&$stream; sleep 0.01; "
        "head -c 100000 /dev/zero | tr '\\0' %s >&$stream; echo >&$stream; done; done"
    )
    try:
        client = connect_all(3)
        client.run_command(command, host_args=["a", "b", "c"], encoding=None)
        client.join(consume_output=True)
    finally:
        host_logger.setLevel(level)
        host_logger.removeHandler(handler)
    logged = written.getvalue().splitlines()
    for name in "abc":
        for stream in ("", "[err]\t"):
            wanted = [f"[127.0.0.1]\t{stream}{i}{name * 100_000}" for i in range(1, 6)]
            assert [line for line in logged if line in wanted] == wanted
    assert len(logged) == 30


def test_consume_output_of_an_endless_command(
    connect_all: ConnectAll, host_log: pytest.LogCaptureFixture
) -> None:
    client = connect_all(1)
    (output,) = client.run_command(f"seq 1 1000; {WAITS}; echo end")
    with pytest.raises(Timeout):
        client.join(consume_output=True, timeout=0.3)
    seen = len(host_log.messages)
    stdin(output).close()
    rest = lines(output)
    assert seen + len(rest) == 1001
    assert rest[-1] == "end"


# finished, as_completed, wait_finished


def test_finished(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command(**ONE_WAITS)  # type: ignore[arg-type]
    client.join(outputs[0])
    assert not client.finished()
    assert not client.finished(outputs)
    assert client.finished(outputs[0])
    assert not client.finished(outputs[1])
    stdin(outputs[1]).close()
    client.join()
    assert client.finished()


def test_as_completed(connect_all: ConnectAll) -> None:
    client = connect_all(3)
    outputs = client.run_command(WAITS)
    completed = client.as_completed()
    for index in (1, 0, 2):
        stdin(outputs[index]).close()
        assert next(completed) is outputs[index]
        assert outputs[index].exit_code == 0
    with pytest.raises(StopIteration):
        next(completed)


def test_as_completed_with_a_failed_host(connect_all: ConnectAll) -> None:
    client = connect_all(["127.0.0.1", "no-such-host.invalid"])
    outputs = client.run_command(WAITS, stop_on_errors=False)
    completed = client.as_completed(outputs)
    assert next(completed) is outputs[1]
    stdin(outputs[0]).close()
    assert next(completed) is outputs[0]


def test_as_completed_timeout(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command(**ONE_WAITS)  # type: ignore[arg-type]
    client.join(outputs[0])
    completed = client.as_completed(timeout=0.1)
    assert next(completed) is outputs[0]
    with pytest.raises(Timeout) as caught:
        next(completed)
    assert caught.value.finished == [outputs[0]]
    assert caught.value.unfinished == [outputs[1]]


def test_as_completed_takes_outputs(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command("true")
    assert list(client.as_completed(outputs[0])) == [outputs[0]]
    assert set(client.as_completed(outputs)) == set(outputs)
    assert list(client.as_completed([])) == []
    with pytest.raises(ValueError, match="HostOutput"):
        list(client.as_completed("wrong"))  # type: ignore[arg-type]


def test_wait_finished(client: BaseSSHClient) -> None:
    output = client.run_command(f"{WAITS}; exit 4")
    with pytest.raises(Timeout) as caught:
        client.wait_finished(output, timeout=0.05)
    assert caught.value.host == client.host
    assert output.exit_code is None
    stdin(output).close()
    client.wait_finished(output)
    assert output.exit_code == 4
    client.wait_finished(output, timeout=0.05)


def test_exit_code_after_reading_without_join(client: BaseSSHClient) -> None:
    output = client.run_command(f"echo x; {ASKS_THEN_EXIT}")
    assert output.exit_code is None
    assert next(stdout(output)) == "x"
    assert output.exit_code is None
    answer(output)
    assert lines(output) == []
    assert output.exit_code == 6


ASKS_THEN_EXIT = "read answer; exit 6"


# Read time-outs


def test_read_timeout(client: BaseSSHClient) -> None:
    output = client.run_command("read answer; echo $answer; cat; echo end", read_timeout=0.05)
    assert output.read_timeout == 0.05
    for _ in range(2):
        with pytest.raises(Timeout) as caught:
            next(stdout(output))
        assert caught.value.host == client.host
        assert "0.05" in str(caught.value)
    answer(output, "one")
    output.read_timeout = None
    assert next(stdout(output)) == "one"
    output.read_timeout = 0.05
    with pytest.raises(Timeout):
        lines(output)
    answer(output, "two")
    output.read_timeout = 25
    assert next(stdout(output)) == "two"
    stdin(output).close()
    assert lines(output) == ["end"]
    assert output.exit_code == 0


def test_read_timeout_in_the_middle_of_a_line(client: BaseSSHClient) -> None:
    output = client.run_command("printf begun; read answer; echo ' and ended'")
    eventually(lambda: len(stdout_buffer(output)) == 5, "half of the line")
    output.read_timeout = 0.05
    with pytest.raises(Timeout):
        next(stdout(output))
    output.read_timeout = None
    answer(output)
    assert lines(output) == ["begun and ended"]


def test_read_timeout_is_per_stream(client: BaseSSHClient) -> None:
    output = client.run_command("while echo tick; do sleep 0.02; done")
    output.read_timeout = 0.5
    reader = stdout(output)
    assert next(reader) == "tick"
    with pytest.raises(Timeout):
        next(stderr(output))
    assert next(reader) == "tick"


def test_read_timeout_on_stderr(client: BaseSSHClient) -> None:
    output = client.run_command("read answer; echo error >&2", read_timeout=0.05)
    with pytest.raises(Timeout):
        list(stderr(output))
    output.read_timeout = None
    answer(output)
    assert list(stderr(output)) == ["error"]


def test_read_timeout_of_many(connect_all: ConnectAll) -> None:
    outputs = connect_all(2).run_command(f"{WAITS}; echo end", read_timeout=0.05)
    for output in outputs:
        with pytest.raises(Timeout):
            lines(output)
    for output in outputs:
        output.read_timeout = None
        stdin(output).close()
    assert [lines(output) for output in outputs] == [["end"]] * 2


def test_a_read_timeout_ends_no_command(client: BaseSSHClient) -> None:
    output = client.run_command(WAITS, read_timeout=0.05)
    with pytest.raises(Timeout):
        lines(output)
    assert output.exception is None
    assert not client.finished(output.channel)


def test_time_outside_the_loop_does_not_count(client: BaseSSHClient) -> None:
    """A program may work for long before it reads, and its loop stands still meanwhile."""
    time.sleep(1.1)
    output = client.run_command("echo x; echo e >&2", read_timeout=1, timeout=1)
    time.sleep(1.1)
    assert lines(output) == ["x"]
    assert list(stderr(output)) == ["e"]


def test_join_after_time_outside_the_loop(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    first = client.run_command("echo x")
    second = client.run_command("echo x")
    time.sleep(1.1)
    client.join(first, timeout=1)
    assert len(list(client.as_completed(second, timeout=1))) == 2


# Lines of all hosts as they come


def test_stream_output(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command("read answer; echo $answer; echo error >&2; echo last")
    stream = client.stream_output()
    for index in (1, 0):
        answer(outputs[index], f"host {index}")
        seen = [next(stream) for _ in range(3)]
        assert all(output is outputs[index] for output, _, _ in seen)
        assert [line for _, name, line in seen if name == "stdout"] == [f"host {index}", "last"]
        assert [line for _, name, line in seen if name == "stderr"] == ["error"]
    assert list(stream) == []
    assert [output.exit_code for output in outputs] == [0, 0]


def test_stream_output_of_given_outputs(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command("echo %s", host_args=["0", "1"])
    assert list(client.stream_output(outputs[1])) == [(outputs[1], "stdout", "1")]
    assert list(client.stream_output(outputs)) == [(outputs[0], "stdout", "0")]
    with pytest.raises(ValueError, match="HostOutput"):
        list(client.stream_output("wrong"))  # type: ignore[arg-type]


def test_stream_output_with_a_failed_host(connect_all: ConnectAll) -> None:
    client = connect_all(["127.0.0.1", "no-such-host.invalid"])
    outputs = client.run_command("echo x", stop_on_errors=False)
    assert list(client.stream_output()) == [(outputs[0], "stdout", "x")]


def test_stream_output_abandoned(connect_all: ConnectAll) -> None:
    client = connect_all(1)
    (output,) = client.run_command("seq 1 5000; read answer; echo end")
    for _, _, line in client.stream_output():
        assert line == "1"
        break
    answer(output)
    client.join()
    assert lines(output)[-1] == "end"


def test_reset_output_generators(connect_all: ConnectAll) -> None:
    client = connect_all(1)
    (output,) = client.run_command("echo x; echo y; echo e >&2")
    assert next(stdout(output)) == "x"
    streams = client.reset_output_generators(output, timeout=3, client=output.client)
    assert streams == (output.stdout, output.stderr)
    assert [list(stdout(output)), list(stderr(output))] == [["y"], ["e"]]


def test_outputs_can_be_told_apart(connect_all: ConnectAll) -> None:
    outputs: list[HostOutput] = connect_all(2).run_command("true")
    assert len(set(outputs)) == 2
