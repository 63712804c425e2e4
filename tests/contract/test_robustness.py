"""Clients in processes that fork, have threads, forget to close, end, or are monkey-patched."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError, PSSHError
from pssh.output import HostOutput
from tests.contract.conftest import Connect, ConnectAll, Library, Settings
from tests.contract.outputs import WAITS, answer, eventually, lines, stdin, stdout
from tests.contract.programs import RunProgram
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer


def sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            found += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return found


# close, context managers, garbage collection


def test_close(library: Library, settings: Settings, sshd: OpenSSHServer) -> None:
    gc.collect()
    before = sockets()
    client = library.SSHClient(sshd.host, **settings)
    assert sockets() == before + 1
    client.close()
    assert sockets() == before
    client.close()
    assert client.session is None
    assert lines(client.run_command("echo again")) == ["again"]
    client.close()
    assert sockets() == before


def test_close_of_a_parallel_client(
    library: Library, settings: Settings, sshd: OpenSSHServer
) -> None:
    gc.collect()
    before = sockets()
    client = library.ParallelSSHClient([sshd.host] * 3, **settings)
    client.close()
    outputs = client.run_command(f"echo x; {WAITS}")
    assert sockets() == before + 3
    client.close()
    client.close()
    assert sockets() == before
    client.join()
    for output in outputs:
        assert isinstance(output.exception, ConnectionLostError)
    assert [lines(output) for output in client.run_command("echo again")] == [["again"]] * 3
    client.close()
    assert sockets() == before


def test_context_managers(library: Library, settings: Settings, sshd: OpenSSHServer) -> None:
    gc.collect()
    before = sockets()
    with library.SSHClient(sshd.host, **settings) as single:
        assert lines(single.run_command("echo x")) == ["x"]
        assert sockets() == before + 1
    assert sockets() == before
    with library.ParallelSSHClient([sshd.host] * 2, **settings) as parallel:
        parallel.run_command("echo x")
        assert sockets() == before + 2
    assert sockets() == before
    with pytest.raises(KeyError), library.SSHClient(sshd.host, **settings):
        raise KeyError
    assert sockets() == before


def test_disconnect_is_deprecated(client: BaseSSHClient) -> None:
    before = sockets()
    with pytest.warns(DeprecationWarning, match="close"):
        client.disconnect()
    assert sockets() == before - 1


def test_close_ends_the_servers_process(connect: Connect, proxy: CutProxy) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    client.run_command(WAITS)
    assert proxy.connections == 1
    client.close()
    eventually(lambda: proxy.connections == 0, "the end of the connection")


@pytest.mark.parametrize("running", [False, True])
def test_a_forgotten_client_frees_its_socket(
    library: Library, settings: Settings, sshd: OpenSSHServer, running: bool
) -> None:
    gc.collect()
    before = sockets()
    client: BaseSSHClient | None = library.SSHClient(sshd.host, **settings)
    assert client is not None
    reference = weakref.ref(client)
    output: HostOutput | None = client.run_command(WAITS if running else "echo x")
    assert output is not None
    if not running:
        assert lines(output) == ["x"]
    client = output = None
    if not running:
        # Without a cycle there is nothing for the collector to do.
        assert reference() is None
    gc.collect()
    eventually(lambda: reference() is None, "the client to go")
    eventually(lambda: sockets() == before, "the socket to be closed")


def test_a_forgotten_parallel_client_frees_its_sockets(
    library: Library, settings: Settings, sshd: OpenSSHServer
) -> None:
    gc.collect()
    before = sockets()
    client: BaseParallelSSHClient | None = library.ParallelSSHClient([sshd.host] * 3, **settings)
    assert client is not None
    client.run_command("echo x")
    client.join()
    assert sockets() == before + 3
    client = None
    gc.collect()
    eventually(lambda: sockets() == before, "the sockets to be closed")


def test_an_output_keeps_its_connection(
    library: Library, settings: Settings, sshd: OpenSSHServer
) -> None:
    output = library.SSHClient(sshd.host, **settings).run_command("read answer; echo $answer")
    gc.collect()
    answer(output, "kept")
    assert lines(output) == ["kept"]
    assert output.exit_code == 0
    assert output.client is not None
    output.client.close()


def test_lines_keep_their_connection(
    library: Library, settings: Settings, sshd: OpenSSHServer
) -> None:
    client = library.SSHClient(sshd.host, **settings)
    output = client.run_command("cat")
    reader, writer = stdout(output), stdin(output)
    del client, output
    gc.collect()
    writer.write("kept\n")
    assert next(reader) == "kept"
    writer.close()
    assert list(reader) == []


def test_closing_frees_who_waits(client: BaseSSHClient) -> None:
    output = client.run_command(WAITS)
    waiting = [
        gevent.spawn(lines, output),
        # Not as an argument: gevent prints those of a greenlet that fails.
        gevent.spawn(lambda: stdin(output).write(b"x" * 100_000_000)),
        gevent.spawn(client.wait_finished, output),
    ]
    gevent.sleep(0)
    client.close()
    gevent.joinall(waiting)
    assert isinstance(waiting[0].exception, ConnectionLostError)
    assert isinstance(waiting[1].exception, ConnectionLostError)
    assert waiting[2].successful()


# Threads


def in_a_thread(function: Callable[[], object]) -> list[object]:
    """Call a function in a thread; its result or its error."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(function())
        except PSSHError as ex:
            found.append(ex)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        gevent.sleep(0.005)
    return found


def test_a_client_for_each_thread(
    library: Library, settings: Settings, sshd: OpenSSHServer, client: BaseSSHClient
) -> None:
    results: list[object] = []

    def work() -> None:
        with library.ParallelSSHClient([sshd.host] * 2, **settings) as parallel:
            for _ in range(3):
                outputs = parallel.run_command("seq 1 1000; cat", stdin="end\n")
                parallel.join()
                results.append([lines(output)[-1] for output in outputs])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert lines(client.run_command("echo main")) == ["main"]
    assert results == [["end", "end"]] * 9


def test_a_client_of_another_thread(client: BaseSSHClient) -> None:
    (error,) = in_a_thread(lambda: client.run_command("echo x"))
    assert isinstance(error, InvalidAPIUseError)
    assert "thread" in str(error)
    assert lines(client.run_command("echo still works")) == ["still works"]


def test_an_output_of_another_thread(client: BaseSSHClient, connect_all: ConnectAll) -> None:
    output = client.run_command("read answer; echo $answer")
    (error,) = in_a_thread(lambda: stdin(output).write(b"x" * 10_000_000))
    assert isinstance(error, InvalidAPIUseError)
    parallel = connect_all(2)
    parallel.run_command("cat")
    waits: list[Callable[[], object]] = [
        lambda: lines(output),
        lambda: client.wait_finished(output),
        parallel.join,
        lambda: parallel.join(consume_output=True),
        lambda: list(parallel.as_completed()),
        lambda: list(parallel.stream_output()),
    ]
    for wait in waits:
        (error,) = in_a_thread(wait)
        assert isinstance(error, InvalidAPIUseError)
        assert "another thread" in str(error)
        assert error.host == client.host
    answer(output, "here")
    assert lines(output) == ["here"]


def test_a_client_closed_by_another_thread(connect: Connect, proxy: CutProxy) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    assert in_a_thread(client.close) == [None]
    eventually(lambda: proxy.connections == 0, "the end of the connection")


def test_a_running_command_whose_client_another_thread_closes(connect: Connect) -> None:
    client = connect()
    output = client.run_command("echo x; cat")
    assert next(stdout(output)) == "x"
    assert in_a_thread(client.close) == [None]
    client.wait_finished(output, timeout=20)
    assert isinstance(output.exception, ConnectionLostError)
    assert output.exit_code is None


# Processes


def test_a_forked_child_and_its_parent(run_program: RunProgram) -> None:
    run_program(
        """
        client = library.SSHClient(host, **settings)
        parallel = library.ParallelSSHClient([host, host], **settings)
        running = client.run_command("read answer; echo $answer")
        assert [list(o.stdout) for o in parallel.run_command("echo before")] == [["before"]] * 2
        child = os.fork()
        if child == 0:
            try:
                with library.SSHClient(host, **settings) as new:
                    assert list(new.run_command("echo child").stdout) == ["child"]
                assert list(client.run_command("echo again").stdout) == ["again"]
                outputs = parallel.run_command("cat", stdin="x")
                assert [list(o.stdout) for o in outputs] == [["x"]] * 2
                client.close()
                parallel.close()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        running.stdin.write("parent\\n")
        assert list(running.stdout) == ["parent"], running.exception
        assert [list(o.stdout) for o in parallel.run_command("echo after")] == [["after"]] * 2
        """
    )


def test_a_forked_child_that_ends_in_order(run_program: RunProgram) -> None:
    run_program(
        """
        gc.unfreeze()
        client = library.SSHClient(host, **settings)
        output = client.run_command("read answer; echo $answer")
        child = os.fork()
        if child == 0:
            client.close()
            del client, output
            gc.collect()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        output.stdin.write("parent\\n")
        assert list(output.stdout) == ["parent"], output.exception
        """
    )


def test_large_output_in_a_forked_child(run_program: RunProgram) -> None:
    run_program(
        """
        with library.SSHClient("localhost", **settings) as client:
            output = client.run_command("seq 1 500000")
            client.wait_finished(output)
        child = os.fork()
        if child == 0:
            try:
                with library.SSHClient("localhost", **settings) as client:
                    output = client.run_command("seq 1 500000")
                    client.wait_finished(output)
                    assert sum(1 for _ in output.stdout) == 500000
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("", id="idle"),
        pytest.param("output = client.run_command('cat')", id="a running command"),
        pytest.param("output = client.run_command('yes')", id="output that comes"),
        pytest.param(
            "output = client.run_command('seq 1 500000'); client.wait_finished(output)",
            id="unread output in a file",
        ),
        pytest.param("del client", id="forgotten"),
        pytest.param(
            "p = library.ParallelSSHClient([host] * 3, **settings); p.run_command('cat')",
            id="a parallel client",
        ),
        pytest.param("client.run_command('cat', stdin=iter(lambda: b'x' * 9999, 0))", id="input"),
        pytest.param("x = [client]; x.append(x)", id="cycle"),
        pytest.param("os._exit(0)", id="without any cleaning up"),
    ],
)
def test_exit_without_close_is_silent(run_program: RunProgram, ending: str) -> None:
    run_program(
        f"""
        gc.unfreeze()
        client = library.SSHClient(host, **settings)
        assert list(client.run_command("echo x").stdout) == ["x"]
        {ending}
        """
    )


def test_a_monkey_patched_program(run_program: RunProgram) -> None:
    run_program(
        """
        import subprocess
        with library.ParallelSSHClient(["localhost", host], **settings) as client:
            outputs = client.run_command("seq 1 300000; cat", stdin="end\\n")
            client.join()
            assert [list(o.stdout)[-1] for o in outputs] == ["end", "end"]
        client = library.SSHClient(host, **settings)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert list(client.run_command("echo child").stdout) == ["child"]
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert list(client.run_command("echo x").stdout) == ["x"]
        """,
        prologue="from gevent import monkey; monkey.patch_all()",
    )


def test_a_thread_of_a_program(run_program: RunProgram) -> None:
    run_program(
        """
        import threading
        seen = []

        def work():
            with library.SSHClient("localhost", **settings) as client:
                seen.extend(client.run_command("echo x").stdout)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == ["x"]
        """
    )


def test_output_with_a_redirected_home(run_program: RunProgram, tmp_path: Path) -> None:
    """Nothing but known_hosts is read or written at home."""
    run_program(
        """
        with library.SSHClient(host, **settings) as client:
            assert list(client.run_command("echo x").stdout) == ["x"]
        assert os.listdir(os.environ["HOME"]) == []
        """,
        home=tmp_path,
    )


def test_greenlets_share_a_client(client: BaseSSHClient) -> None:
    def run(number: int) -> list[object]:
        return list(lines(client.run_command(f"echo {number}")))

    work = [gevent.spawn(run, number) for number in range(20)]
    gevent.joinall(work, raise_error=True)
    assert [each.value for each in work] == [[str(number)] for number in range(20)]


def test_greenlets_share_one_attempt_to_connect(connect_all: ConnectAll, proxy: CutProxy) -> None:
    client = connect_all(1, port=proxy.port, host_key_policy="ignore")
    work = [gevent.spawn(client.run_command, "echo x") for _ in range(5)]
    gevent.joinall(work, raise_error=True)
    assert [lines(each.value[0]) for each in work] == [["x"]] * 5
    assert proxy.accepted == 1


def test_many_commands_one_after_the_other(client: BaseSSHClient) -> None:
    channels_before = sockets()
    for number in range(100):
        assert lines(client.run_command(f"echo {number}")) == [str(number)]
    assert sockets() == channels_before
