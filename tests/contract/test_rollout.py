"""Rules for work on many hosts: `Rollout`, `last_result`, observers."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.task import Task
from pssh.config import HostConfig
from pssh.exceptions import (
    ConnectionLostError,
    ConnectRefusedError,
    InvalidAPIUseError,
    NotTriedError,
    Timeout,
)
from pssh.fleet import FleetResult, HostResult, HostState, Observer, Rollout
from tests.contract.conftest import ConnectAll, Library, Settings
from tests.contract.outputs import WAITS, eventually, lines, stdin
from tests.servers.fakes import Silent
from tests.servers.process import free_port


class Recorder(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[int, HostState]] = []
        self.bytes: dict[int, int] = {}
        self.began: FleetResult | None = None
        self.ended: FleetResult | None = None
        self.working: set[int] = set()
        self.most = 0

    def run_began(self, result: FleetResult) -> None:
        assert all(host.state is HostState.WAITING for host in result)
        self.began = result

    def host_changed(self, host: HostResult) -> None:
        self.events.append((host.index, host.state))
        if host.state in (HostState.CONNECTING, HostState.RUNNING):
            self.working.add(host.index)
        else:
            self.working.discard(host.index)
        self.most = max(self.most, len(self.working))

    def bytes_copied(self, host: HostResult, count: int) -> None:
        self.bytes[host.index] = self.bytes.get(host.index, 0) + count

    def run_ended(self, result: FleetResult) -> None:
        assert not result.pending
        self.ended = result

    def of(self, index: int) -> list[str]:
        """The states of a host, in the order of its life."""
        return [state.value for host, state in self.events if host == index]

    def order(self) -> list[int]:
        """The hosts in the order in which work on them began."""
        return [host for host, state in self.events if state is HostState.CONNECTING]

    def before(self, index: int) -> set[int]:
        """The hosts for which it had ended before a host had its turn."""
        at = self.events.index((index, HostState.CONNECTING))
        return {host for host, state in self.events[:at] if state.final}


def groups(client: BaseParallelSSHClient) -> list[list[int]]:
    """Ok, failed, unreachable and not tried: each host is in one of them."""
    result = client.last_result
    assert result is not None
    found = [result.ok, result.failed, result.unreachable, result.not_tried]
    numbers = [[host.index for host in group] for group in found]
    assert sorted(itertools.chain.from_iterable(numbers)) == list(range(len(client.hosts)))
    assert [host.index for host in result] == list(range(len(client.hosts)))
    return numbers


@pytest.fixture
def refused() -> HostConfig:
    """A host on which nothing listens."""
    return HostConfig(port=free_port())


# Commands


def test_fanout_and_batches(connect_all: ConnectAll) -> None:
    client = connect_all(7, pool_size=5)
    recorder = Recorder()
    outputs = client.run_command(
        "echo %s", host_args=list("abcdefg"), rollout=Rollout(fanout=2), observer=recorder
    )
    # All have ended when it returns.
    assert client.finished()
    assert [lines(output) for output in outputs] == [[letter] for letter in "abcdefg"]
    assert recorder.most == 2
    assert recorder.order() == list(range(7))
    assert recorder.of(3) == ["connecting", "running", "ok"]
    assert recorder.began is recorder.ended is client.last_result

    recorder = Recorder()
    rules = Rollout(serial=[1, "40%", 3], pause=0.05)
    begin = time.monotonic()
    client.run_command("true", rollout=rules, observer=recorder)
    assert time.monotonic() - begin >= 0.1
    assert recorder.before(1) == {0}
    assert recorder.before(3) == {0, 1, 2}
    assert 1 < recorder.most <= 4
    assert groups(client) == [list(range(7)), [], [], []]


def test_pool_size_holds_as_well(connect_all: ConnectAll) -> None:
    client = connect_all(4, pool_size=1)
    recorder = Recorder()
    client.run_command("true", rollout=Rollout(fanout=3), observer=recorder)
    assert recorder.most == 1


def test_each_host_is_in_one_group(connect_all: ConnectAll, refused: HostConfig) -> None:
    configs = [HostConfig() for _ in range(8)]
    configs[1] = configs[3] = refused
    configs[4].alias = "web"
    client = connect_all(8, host_config=configs)
    rules = Rollout(fanout=1, max_failures=1, max_unreachable=2)
    commands = ["true", "", "exit 3", "", "kill -9 $$", "echo not reached", "", ""]
    outputs = client.run_command(
        "%s", host_args=commands, stop_on_errors=False, rollout=rules, shell="exec sh -c"
    )
    assert groups(client) == [[0], [2, 4], [1, 3], [5, 6, 7]]
    assert client.get_last_output() is not None
    assert [output.exit_code for output in outputs] == [0, None, 3, None, -9, None, None, None]
    for index in (1, 3):
        assert isinstance(outputs[index].exception, ConnectRefusedError)
    result = client.last_result
    assert result is not None
    assert result.stopped == "2 hosts failed, and max_failures is 1"
    for index in (5, 6, 7):
        error = outputs[index].exception
        assert isinstance(error, NotTriedError)
        assert error.host == "127.0.0.1"
        assert error.reason == result.stopped
        assert result.stopped in str(error)
    assert str(result).splitlines() == [
        "8 hosts: 1 ok, 2 failed, 2 unreachable, 3 not tried",
        "stopped: 2 hosts failed, and max_failures is 1",
        "failed: exit code 3: 127.0.0.1",
        "failed: killed by signal KILL: web",
        "unreachable: Error connecting to host … - Connection refused - retry 1/1: "
        "127.0.0.1, 127.0.0.1",
    ]
    assert result[4].output is outputs[4]
    assert result[4].exit_code == -9


def test_stop_on_errors(connect_all: ConnectAll, refused: HostConfig) -> None:
    """As without rules, the first host's error is raised when it is over; exit codes are none."""
    client = connect_all(3, host_config=[HostConfig(), refused, HostConfig()])
    with pytest.raises(ConnectRefusedError):
        client.run_command("true", rollout=Rollout(fanout=1, max_unreachable=0))
    assert groups(client) == [[0], [], [1], [2]]
    outputs = client.get_last_output()
    assert outputs is not None
    assert isinstance(outputs[2].exception, NotTriedError)
    client = connect_all(2)
    client.run_command("exit 1", rollout=Rollout(max_failures=5))
    assert groups(client) == [[], [0, 1], [], []]
    with pytest.raises(NotTriedError, match="max_fail_percentage is 0"):
        client.run_command("exit 1", rollout=Rollout(serial=1, max_fail_percentage=0))


@pytest.mark.long
def test_timeouts(connect_all: ConnectAll, account: Any, remote_folder: Path) -> None:
    """A command and a connection that hang, of a host and of the whole run."""
    remote_folder.chmod(0o777)
    hangs = f"echo $$ > {remote_folder}/pid; echo begun; exec sleep 600"
    with Silent() as silent:
        configs = [HostConfig(), HostConfig(port=silent.port), HostConfig(), HostConfig()]
        client = connect_all(4, host_config=configs)
        client._client_of(0).connect()
        commands = [hangs, "true", "true", "true"]
        for rules, done in (
            (Rollout(fanout=2, host_timeout=1.5), [2, 3]),
            (Rollout(fanout=2, timeout=1.5), []),
        ):
            outputs = client.run_command(
                "%s", host_args=commands, stop_on_errors=False, rollout=rules
            )
            left = [index for index in (2, 3) if index not in done]
            assert groups(client) == [done, [0], [1], left]
            assert lines_until_error(outputs[0]) == ["begun"]
            for index in (0, 1):
                error = outputs[index].exception
                assert isinstance(error, Timeout)
                assert error.host == "127.0.0.1"
                assert "longer than 1.5 seconds" in str(error)
            assert outputs[0].exit_signal == "TERM"
            for index in left:
                assert "timeout of 1.5 seconds" in str(outputs[index].exception)
            process = Path("/proc") / (remote_folder / "pid").read_text().strip()
            wait_for_end(process)


def wait_for_end(process: Path) -> None:
    eventually(lambda: not process.exists(), f"the end of {process}")


@pytest.mark.long
def test_five_hundred_hosts(connect_all: ConnectAll, refused: HostConfig) -> None:
    """5 % unreachable, 5 % failing, 1 % hanging; within its time, and each in its group."""
    hosts = 500
    configs = [refused if i % 20 == 7 else HostConfig() for i in range(hosts)]
    commands = ["exit 4" if i % 20 == 13 else "true" for i in range(hosts)]
    commands[50::100] = ["exec sleep 600"] * 5
    client = connect_all(hosts, host_config=configs)
    client.run_command(
        "%s",
        host_args=commands,
        stop_on_errors=False,
        rollout=Rollout(fanout=40, host_timeout=5, timeout=60),
    )
    ok, failed, unreachable, not_tried = groups(client)
    assert unreachable == list(range(7, hosts, 20))
    assert failed == sorted([*range(13, hosts, 20), *range(50, hosts, 100)])
    assert len(ok) == 445
    assert not_tried == []
    result = client.last_result
    assert result is not None
    for host in result.failed:
        hangs = host.index % 100 == 50
        assert isinstance(host.exception, Timeout) if hangs else host.exit_code == 4


def lines_until_error(output: Any) -> list[str]:
    found = []
    with pytest.raises(Timeout):
        for line in output.stdout:
            found.append(line)
    return found


def test_a_command_that_will_not_end(
    connect_all: ConnectAll, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pssh.clients.base.ending.GRACE", 0.1)
    remote_folder.chmod(0o777)
    client = connect_all(1)
    client._client_of(0).connect()
    (output,) = client.run_command(
        f"trap '' TERM; echo $$ > {remote_folder}/pid; while true; do sleep 1; done",
        stop_on_errors=False,
        rollout=Rollout(host_timeout=1.5),
        # sshd signals only while the process that it started itself is there.
        shell="exec sh -c",
    )
    assert output.exit_signal == "KILL"
    assert isinstance(output.exception, Timeout)
    assert groups(client) == [[], [0], [], []]
    process = Path("/proc") / (remote_folder / "pid").read_text().strip()
    wait_for_end(process)


def test_what_cannot_work(connect_all: ConnectAll) -> None:
    client = connect_all(1, buffer_overflow="block")
    with pytest.raises(InvalidAPIUseError, match="buffer_overflow"):
        client.run_command("true", rollout=Rollout())
    wrong: Any = {"fanout": 1}
    calls: list[Callable[..., object]] = [
        lambda **k: client.run_command("true", **k),
        client.connect_auth,
        lambda **k: client.copy_file("a", "b", **k),
        lambda **k: client.scp_recv("a", "b", **k),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"rollout is a pssh\.fleet\.Rollout"):
            call(rollout=wrong)
        with pytest.raises(TypeError, match=r"observer is a pssh\.fleet\.Observer"):
            call(observer=wrong)
    assert client.last_result is None


def test_without_rules(connect_all: ConnectAll, refused: HostConfig) -> None:
    """There is a result all the same, and it may be observed."""
    client = connect_all(3, host_config=[HostConfig(), refused, HostConfig()])
    args = [WAITS, "", "exit 2"]
    for recorder in (None, Recorder()):
        outputs = client.run_command("%s", host_args=args, stop_on_errors=False, observer=recorder)
        client.join(outputs[2])
        result = client.last_result
        assert result is not None
        eventually(lambda: result[2].state.final, "the last state")  # noqa: B023
        assert [host.index for host in result.pending] == [0]
        assert "1 not finished" in str(result)
        assert result[0].state is HostState.RUNNING
        stdin(outputs[0]).close()
        client.join()
        if recorder is not None:
            eventually(lambda: recorder.ended is result, "the end")  # noqa: B023
            assert recorder.of(1) == ["connecting", "unreachable"]
            assert recorder.of(2) == ["connecting", "running", "failed"]
        assert groups(client) == [[0], [2], [1], []]
    # It is about the hosts that the command ran on.
    client.hosts, client.host_config = ["localhost"], None
    again = client.last_result
    assert again is not None
    assert [host.host for host in again] == ["127.0.0.1"] * 3


# Greenlets


def copy_calls(client: BaseParallelSSHClient, folder: Path, local: Path) -> list[Any]:
    """The four functions that copy; the second host has a path that cannot be."""
    send = [{"path": f"{folder}/sent-{i}" if i != 1 else "/proc/x/y"} for i in range(4)]
    fetch = [
        {"path": f"{folder}/original" if i != 1 else f"{folder}/none", "to": f"{local}/{i}"}
        for i in range(4)
    ]
    original = str(local / "original")
    return [
        lambda **k: client.copy_file(original, "%(path)s", copy_args=send, **k),
        lambda **k: client.scp_send(original, "%(path)s", copy_args=send, **k),
        lambda **k: client.copy_remote_file("%(path)s", "%(to)s", copy_args=fetch, **k),
        lambda **k: client.scp_recv("%(path)s", "%(to)s", copy_args=fetch, **k),
    ]


def test_copies(connect_all: ConnectAll, remote_folder: Path, tmp_path: Path) -> None:
    remote_folder.chmod(0o777)
    content = bytes(300_000)
    for original in (remote_folder / "original", tmp_path / "original"):
        original.write_bytes(content)
        original.chmod(0o644)
    client = connect_all(4)
    for copy in copy_calls(client, remote_folder, tmp_path):
        recorder = Recorder()
        told: list[Any] = []
        tasks = copy(
            rollout=Rollout(serial=1, max_failures=0),
            observer=recorder,
            progress=lambda *args, told=told: told.append(args),
        )
        gevent.joinall(tasks)
        assert groups(client) == [[0], [1], [], [2, 3]]
        assert recorder.bytes == {0: len(content)}
        assert told[-1][2:] == (len(content), len(content))
        assert tasks[0].exception is None
        assert tasks[1].exception is client.last_result[1].exception  # type: ignore[index]
        for task in tasks[2:]:
            with pytest.raises(NotTriedError, match="max_failures is 0"):
                task.get()
    # Without rules all are tried.
    gevent.joinall(copy_calls(client, remote_folder, tmp_path)[0]())
    assert groups(client) == [[0, 2, 3], [1], [], []]


def test_connect_auth(connect_all: ConnectAll, refused: HostConfig) -> None:
    client = connect_all(5, host_config=[*[HostConfig() for _ in range(3)], refused, HostConfig()])
    recorder = Recorder()
    begin = time.monotonic()
    rules = Rollout(connect_rate=20, fanout=1, max_unreachable_percentage=19)
    tasks = client.connect_auth(rollout=rules, observer=recorder)
    assert len(tasks) == 5
    # They come at once.
    assert recorder.events == []
    gevent.joinall(tasks)
    assert time.monotonic() - begin >= 0.15
    assert groups(client) == [[0, 1, 2], [], [3], [4]]
    with pytest.raises(NotTriedError, match="1 of 5 hosts unreachable"):
        tasks[4].get()
    # Who is connected does not count.
    client.hosts, client.host_config = client.hosts[:3], None
    begin = time.monotonic()
    gevent.joinall(client.connect_auth(rollout=Rollout(connect_rate=0.01)))
    assert groups(client) == [[0, 1, 2], [], [], []]
    assert time.monotonic() - begin < 90


def test_connect_rate_of_repeated_attempts(connect_all: ConnectAll, refused: HostConfig) -> None:
    client = connect_all(2, port=refused.port, num_retries=3, retry_delay=0)
    begin = time.monotonic()
    gevent.joinall(client.connect_auth(rollout=Rollout(connect_rate=20)))
    assert groups(client) == [[], [], [0, 1], []]
    # Six attempts have five spaces between them.
    assert time.monotonic() - begin >= 0.25


def test_killed_greenlets(connect_all: ConnectAll) -> None:
    """Those of a run are the user's, who may kill them at any time."""
    with Silent() as silent:
        client = connect_all(4, port=silent.port, host_key_policy="ignore")
        tasks = client.connect_auth(rollout=Rollout(fanout=2))
        tasks[0].kill()
        tasks[3].kill()
        eventually(lambda: silent.accepted == 2, "connections")
        tasks[1].kill()
        tasks[2].kill()
        gevent.joinall(tasks)
    assert groups(client) == [[], [], [1, 2], [0, 3]]


def test_the_client_is_closed_or_gets_other_hosts(library: Library, settings: Settings) -> None:
    with Silent() as silent:
        settings = {**settings, "port": silent.port, "host_key_policy": "ignore", "pool_size": 1}
        client = library.ParallelSSHClient(["127.0.0.1", "localhost", "127.0.0.1"], **settings)
        tasks = client.connect_auth()
        eventually(lambda: silent.accepted == 1, "a connection")
        client.close()
        # Nobody waits for the 30 seconds that the host has.
        gevent.joinall(tasks)
        assert groups(client) == [[], [], [0], [1, 2]]
        with pytest.raises(ConnectionLostError, match="closed while it connected"):
            tasks[0].get()
        with pytest.raises(NotTriedError, match="the client was closed"):
            tasks[1].get()
        tasks = client.connect_auth()
        eventually(lambda: silent.accepted == 2, "a connection")
        before = client.last_result
        client.hosts = ["localhost"]
        gevent.joinall(tasks)
        assert before is not None
        assert [host.state.value for host in before] == ["unreachable"] + ["not tried"] * 2
        with pytest.raises(NotTriedError, match="the client has other hosts now"):
            tasks[1].get()
        client.close()


def test_close_of_a_client_that_connects(library: Library, settings: Settings) -> None:
    with Silent() as silent:
        settings = {**settings, "port": silent.port, "host_key_policy": "ignore"}
        group = library.ParallelSSHClient(["127.0.0.1"], **settings)
        client = group._client_of(0)
        tasks = [Task(client.connect) for _ in range(2)]
        for task in tasks:
            task.start()
        eventually(lambda: silent.accepted == 1, "a connection")
        client.close()
        gevent.joinall(tasks)
        for task in tasks:
            with pytest.raises(ConnectionLostError, match="closed while it connected"):
                task.get()
        assert silent.accepted == 1


def test_an_observer_that_fails(connect_all: ConnectAll, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Observer):
        def host_changed(self, host: HostResult) -> None:
            raise RuntimeError("of the observer")

    client = connect_all(2)
    client.run_command("true", rollout=Rollout(), observer=Bad())
    assert groups(client) == [[0, 1], [], [], []]
    assert "of the observer" in caplog.text


def test_a_timeout_of_the_caller(connect_all: ConnectAll) -> None:
    """It begins nothing more; what runs goes on, as it does without rules."""
    client = connect_all(3)
    with pytest.raises(gevent.Timeout), gevent.Timeout(2):
        client.run_command(WAITS, rollout=Rollout(fanout=2))
    eventually(lambda: client.last_result[2].state.final, "the last one")  # type: ignore[index]
    result = client.last_result
    assert result is not None
    assert [host.index for host in result.not_tried] == [2]
    for host in result.pending:
        assert host.output is not None
        stdin(host.output).close()
    eventually(lambda: not result.pending, "the end of what ran")
    assert groups(client) == [[0, 1], [], [], [2]]


def test_hosts_that_wait_cost_little(library: Library, refused: HostConfig) -> None:
    hosts = [f"host{number}" for number in range(5_000)]
    hosts[0] = "127.0.0.1"
    client = library.ParallelSSHClient(
        hosts, port=refused.port, num_retries=1, host_key_policy="ignore"
    )
    tracemalloc.start()
    try:
        tasks = client.connect_auth(rollout=Rollout(fanout=1, max_unreachable=0))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(hosts) < 2500
    gevent.joinall(tasks)
    assert [len(group) for group in groups(client)] == [0, 0, 1, 4_999]
    assert client._clients.count(None) == 4_999
