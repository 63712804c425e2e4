"""`ParallelSSHClient`: its hosts, their order, and errors of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.single import BaseSSHClient
from pssh.config import HostConfig
from pssh.exceptions import InvalidAPIUseError, SessionError
from pssh.output import HostOutput
from tests.contract.conftest import Connect, ConnectAll, Library, Settings
from tests.contract.outputs import WAITS, answer, eventually, lines, stdin
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer
from tests.servers.process import free_port

PORT_OF_THE_CLIENT = "echo ${SSH_CLIENT#* }"


def one_unreachable(connect_all: ConnectAll, sshd: OpenSSHServer) -> BaseParallelSSHClient:
    """A client for three hosts, the second of which refuses connections."""
    ports = [sshd.port, free_port(), sshd.port]
    config = [HostConfig(port=port, alias=f"host {index}") for index, port in enumerate(ports)]
    return connect_all(3, host_config=config)


def test_an_option_that_there_is_not_starts_nothing(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    options: Any
    for options in ({"unknown": 1}, {"stdout": 1}):
        with pytest.raises(TypeError, match=r"run_command\(\) got an unexpected keyword"):
            client.run_command("true", stop_on_errors=False, **options)
        with pytest.raises(TypeError, match=r"open_shell\(\) got an unexpected keyword"):
            client.open_shell(stop_on_errors=False, **options)
    # In scripts for 1.x it limits reading, and so they would read for ever.
    options = {"timeout": 1}
    with pytest.raises(TypeError, match="see read_timeout"):
        client.run_command("true", **options)
    assert client._clients == [None, None]


def test_order_is_that_of_the_hosts(connect_all: ConnectAll) -> None:
    client = connect_all(["localhost", "127.0.0.1", "localhost"])
    outputs = client.run_command(
        "%s", host_args=["seq 99999 >/dev/null; echo 1", "echo 2", "echo 3"]
    )
    assert [output.host for output in outputs] == ["localhost", "127.0.0.1", "localhost"]
    assert [lines(output) for output in outputs] == [["1"], ["2"], ["3"]]


def test_repeated_hosts_are_separate(connect_all: ConnectAll) -> None:
    client = connect_all(3)
    outputs = client.run_command(PORT_OF_THE_CLIENT)
    assert len({str(lines(output)) for output in outputs}) == 3
    assert len({id(output.client) for output in outputs}) == 3


def test_connections_are_used_again(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    first = [lines(output) for output in client.run_command(PORT_OF_THE_CLIENT)]
    second = [lines(output) for output in client.run_command(PORT_OF_THE_CLIENT)]
    assert first == second


def test_run_command_returns_when_all_have_started(connect_all: ConnectAll) -> None:
    outputs = connect_all(3).run_command(f"echo started; {WAITS}")
    assert all(isinstance(output, HostOutput) for output in outputs)
    assert [output.exit_code for output in outputs] == [None] * 3
    for output in outputs:
        stdin(output).close()
    assert [lines(output) for output in outputs] == [["started"]] * 3


def test_every_parameter_reaches_every_host(connect_all: ConnectAll) -> None:
    outputs = connect_all(2).run_command(
        "echo $PSSH_ONE; stty size; echo $TERM; cat",
        env={"PSSH_ONE": "value"},
        pty_size=(90, 30),
        term="xterm",
        stdin="\4",
        shell="exec sh -c",
        encoding=None,
        read_timeout=25,
    )
    for output in outputs:
        assert output.read_timeout == 25
        assert output.fully_qualified_command is not None
        assert output.fully_qualified_command.startswith(b"exec sh -c '")
        assert lines(output)[:3] == [b"value", b"30 90", b"xterm"]


# Errors


def test_stop_on_errors_raises_and_the_others_run(
    connect_all: ConnectAll, sshd: OpenSSHServer
) -> None:
    client = one_unreachable(connect_all, sshd)
    with pytest.raises(ConnectionRefusedError):
        client.run_command(f"echo runs; {WAITS}")
    outputs = client.get_last_output()
    assert outputs is not None
    assert len(outputs) == 3
    assert isinstance(outputs[1].exception, ConnectionRefusedError)
    for output in (outputs[0], outputs[2]):
        assert output.exit_code is None
        stdin(output).close()
        assert lines(output) == ["runs"]
        assert output.exit_code == 0
        assert output.exception is None


def test_the_first_hosts_error_is_raised(connect_all: ConnectAll, sshd: OpenSSHServer) -> None:
    ports = [sshd.port, free_port(), free_port()]
    config = [HostConfig(port=port) for port in ports]
    client = connect_all(3, host_config=config)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError) as caught:
            client.run_command("true")
        assert getattr(caught.value, "port", None) == ports[1]


def test_errors_in_the_output(connect_all: ConnectAll, sshd: OpenSSHServer) -> None:
    client = one_unreachable(connect_all, sshd)
    outputs = client.run_command("echo runs", stop_on_errors=False)
    assert [lines(output) for output in (outputs[0], outputs[2])] == [["runs"]] * 2
    failed = outputs[1]
    assert isinstance(failed.exception, ConnectionRefusedError)
    assert (failed.host, failed.alias) == (sshd.host, "host 1")
    assert failed.exit_code is None
    assert failed.exit_signal is None
    assert failed.channel is None
    assert client.finished()
    client.join()
    with pytest.raises(SessionError, match="No command was started"):
        failed.send_signal("TERM")
    with pytest.raises(SessionError, match="No command was started"):
        failed.terminate()


def test_a_refused_start_is_the_hosts_error(connect_all: ConnectAll) -> None:
    outputs = connect_all(2).run_command("true", env={"OTHER": "1"}, stop_on_errors=False)
    assert [type(output.exception) for output in outputs] == [SessionError] * 2


def test_get_last_output(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    assert client.get_last_output() is None
    assert client.cmds is None
    first = client.run_command("echo first")
    first_cmds = client.cmds
    assert first_cmds is not None
    assert len(first_cmds) == 2
    assert client.get_last_output() == first
    second = client.run_command("echo second")
    assert client.cmds is not first_cmds
    assert client.get_last_output() == second
    again = client.get_last_output(first_cmds)
    assert again == first
    assert again is not None
    assert [lines(output) for output in again] == [["first"]] * 2


def test_connect_auth(connect_all: ConnectAll, proxy: CutProxy) -> None:
    client = connect_all(3, port=proxy.port, host_key_policy="ignore")
    greenlets = client.connect_auth()
    assert len(greenlets) == 3
    gevent.joinall(greenlets, raise_error=True)
    assert proxy.accepted == 3
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 3
    assert proxy.accepted == 3


def test_connect_auth_keeps_errors(connect_all: ConnectAll, sshd: OpenSSHServer) -> None:
    client = one_unreachable(connect_all, sshd)
    greenlets = client.connect_auth()
    gevent.joinall(greenlets)
    kinds = [type(greenlet.exception) for greenlet in greenlets]
    assert kinds[0] is kinds[2] is type(None)
    assert issubclass(kinds[1], ConnectionRefusedError)


def test_return_list(connect_all: ConnectAll) -> None:
    client = connect_all(1)
    with pytest.warns(DeprecationWarning, match="return_list"):
        outputs = client.run_command("echo x", return_list=True)
    assert lines(outputs[0]) == ["x"]
    with pytest.raises(InvalidAPIUseError, match="list"):
        client.run_command("echo x", return_list=False)


def test_pool_size(connect_all: ConnectAll, proxy: CutProxy, client: BaseSSHClient) -> None:
    proxy.stall()
    parallel = connect_all(5, port=proxy.port, host_key_policy="ignore", pool_size=2)
    running = gevent.spawn(parallel.run_command, "echo x")
    eventually(lambda: proxy.accepted == 2, "two connections")
    for _ in range(5):
        assert lines(client.run_command("echo meanwhile")) == ["meanwhile"]
    assert proxy.accepted == 2
    proxy.resume()
    assert [lines(output) for output in running.get()] == [["x"]] * 5
    assert proxy.accepted == 5


@pytest.mark.parametrize("size", [0, -1, "10", 1.5])
def test_pool_size_that_cannot_be(library: Library, size: Any) -> None:
    with pytest.raises(ValueError, match="pool_size"):
        library.ParallelSSHClient(["localhost"], pool_size=size)


# The list of hosts


def test_hosts_may_be_a_generator(connect_all: ConnectAll) -> None:
    def hosts() -> Iterator[str]:
        yield "127.0.0.1"
        yield "localhost"

    client = connect_all(hosts())
    for _ in range(2):
        outputs = client.run_command("echo x")
        assert [output.host for output in outputs] == ["127.0.0.1", "localhost"]
        assert [lines(output) for output in outputs] == [["x"]] * 2


@pytest.mark.parametrize("kind", [tuple, dict.fromkeys, set, iter])
def test_hosts_may_be_any_iterable(
    connect_all: ConnectAll, kind: Callable[[list[str]], object]
) -> None:
    hosts = kind(["127.0.0.1"])
    assert [lines(output) for output in connect_all(hosts).run_command("echo x")] == [["x"]]


@pytest.mark.parametrize("hosts", ["localhost", b"localhost"])
def test_hosts_may_not_be_a_string(library: Library, settings: Settings, hosts: object) -> None:
    with pytest.raises(TypeError, match="not string"):
        library.ParallelSSHClient(hosts, **settings)  # type: ignore[arg-type]
    client = library.ParallelSSHClient(["localhost"], **settings)
    with pytest.raises(TypeError, match="not string"):
        client.hosts = hosts  # type: ignore[assignment]
    assert client.hosts == ["localhost"]


def test_hosts_must_be_iterable(library: Library, settings: Settings) -> None:
    with pytest.raises(TypeError):
        library.ParallelSSHClient(None, **settings)  # type: ignore[arg-type]


def test_no_hosts(connect_all: ConnectAll) -> None:
    client = connect_all([])
    assert client.run_command("true") == []
    client.join()
    assert client.finished()


def test_assigning_hosts_keeps_some_and_closes_others(
    connect_all: ConnectAll, proxy: CutProxy
) -> None:
    client = connect_all(
        ["127.0.0.1", "localhost", "127.0.0.1"], port=proxy.port, host_key_policy="ignore"
    )
    first = [output.client for output in client.run_command("true")]
    assert (proxy.accepted, proxy.connections) == (3, 3)
    client.hosts = iter(["127.0.0.1", "127.0.0.1"])
    eventually(lambda: proxy.connections == 1, "the connections to be closed")
    outputs = client.run_command("echo x")
    assert [lines(output) for output in outputs] == [["x"]] * 2
    assert [output.client is first[index] for index, output in enumerate(outputs)] == [True, False]
    assert (proxy.accepted, proxy.connections) == (4, 2)


def test_changing_hosts_in_place(connect_all: ConnectAll, proxy: CutProxy) -> None:
    client = connect_all(
        ["127.0.0.1", "localhost", "127.0.0.1"], port=proxy.port, host_key_policy="ignore"
    )
    first = [output.client for output in client.run_command("true")]
    client.hosts[1] = "127.0.0.1"
    client.hosts.append("localhost")
    outputs = client.run_command("echo x")
    assert [lines(output) for output in outputs] == [["x"]] * 4
    kept = [output.client is before for output, before in zip(outputs, first, strict=False)]
    assert kept == [True, False, True]
    assert proxy.accepted == 5
    eventually(lambda: proxy.connections == 4, "one connection to be closed")
    del client.hosts[0]
    assert [lines(output) for output in client.run_command("echo y")] == [["y"]] * 3


def test_outputs_of_hosts_that_were_dropped(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command(f"echo x; {WAITS}")
    client.hosts = client.hosts[:1]
    answer(outputs[0])
    stdin(outputs[0]).close()
    assert lines(outputs[0]) == ["x", "go on"]
    with pytest.raises(ConnectionError):
        lines(outputs[1])
    client.join(outputs)
    assert outputs[1].exit_code is None


def test_host_config_must_fit_the_hosts(connect_all: ConnectAll, connect: Connect) -> None:
    client = connect_all(2, host_config=[HostConfig(alias="a"), HostConfig(alias="b")])
    assert [output.alias for output in client.run_command("true")] == ["a", "b"]
    client.hosts = client.hosts[:1]
    with pytest.raises(ValueError, match="2 host config entries from 1 hosts"):
        client.run_command("true")
