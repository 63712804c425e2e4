"""Ctrl-C: programs of their own that get SIGINT in the middle of a call."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.outputs import eventually
from tests.contract.programs import RunProgram
from tests.servers.fakes import Silent

#: What each program begins with. ``interrupt_when`` sends it a real signal from the outside of
#: whatever call it is in, and ``states`` says what has become of each host.
PROLOGUE = """
import glob, os, signal, threading
import gevent
from pssh.config import HostConfig
from pssh.exceptions import NotTriedError, StoppedError
from pssh.fleet import Rollout

def interrupt_when(condition):
    def wait():
        while not condition():
            gevent.sleep(0.01)
        # From a thread, so that it hits whatever this one is doing then.
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    gevent.spawn(wait)

def interrupted(call):
    try:
        call()
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")

def states(client):
    result = client.last_result
    groups = (result.ok, result.failed, result.unreachable, result.not_tried)
    assert sorted(h.index for g in groups for h in g) == list(range(len(client.hosts)))
    return [host.state.value for host in result]

def begun(count):
    return lambda: len(glob.glob(folder + "/*.pid")) == count

# gevent would say on standard error that there was a KeyboardInterrupt.
gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)
RUNS = f"echo $$ > {folder}/$$.pid; sleep 600; echo not reached"
"""

RunInterrupted = Callable[[str], None]


@pytest.fixture
def run_interrupted(run_program: RunProgram, remote_folder: Path) -> RunInterrupted:
    """Runs a program, and checks afterwards that nothing that it began runs any more."""
    remote_folder.chmod(0o777)

    def run(source: str) -> None:
        run_program(f"folder = {str(remote_folder)!r}\n{PROLOGUE}\n{textwrap.dedent(source)}")
        eventually(lambda: not running(remote_folder), "the end of all that was begun")

    return run


def running(folder: Path) -> list[str]:
    """What runs on behalf of a test: it names the test's folder, or left its id there."""
    found = [path.read_text().strip() for path in folder.glob("*.pid*")]
    found = [pid for pid in found if pid and (Path("/proc") / pid).exists()]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if str(folder).encode() in words:
                found.append(words.decode(errors="replace"))
    return found


@pytest.mark.parametrize("rollout", ["None", "Rollout(fanout=2)"])
def test_run_command(run_interrupted: RunInterrupted, rollout: str) -> None:
    """One host runs, one connects, and one has not had its turn."""
    with Silent() as silent:
        run_interrupted(f"""
            configs = [HostConfig(), HostConfig(port={silent.port}), HostConfig()]
            rollout = {rollout}
            client = library.ParallelSSHClient(
                [host] * 3, host_config=configs, pool_size=2 if rollout else 1, **settings
            )
            interrupt_when(begun(1))
            interrupted(lambda: client.run_command(RUNS, rollout=rollout))
            assert states(client) == ["failed", "unreachable", "not tried"]
            assert client.last_result.stopped == "this program was interrupted"
            outputs = client.get_last_output()
            assert outputs[0].exit_signal == "TERM", outputs[0]
            assert list(map(type, (o.exception for o in outputs))) == [
                StoppedError, StoppedError, NotTriedError
            ]
            assert client.finished()
            # It goes on being of use.
            client.hosts, client.host_config = [host], None
            assert list(client.run_command("echo again")[0].stdout) == ["again"]
        """)


def test_waiting(run_interrupted: RunInterrupted) -> None:
    run_interrupted("""
        client = library.ParallelSSHClient([host] * 2, **settings)
        calls = [
            client.join,
            lambda: client.join(consume_output=True),
            lambda: list(client.as_completed()),
            lambda: list(client.stream_output()),
        ]
        for number, call in enumerate(calls, 1):
            # sshd signals only while the process that it started itself is there.
            outputs = client.run_command("trap 'exit 0' TERM; " + RUNS, shell="exec sh -c")
            interrupt_when(begun(number * 2))
            interrupted(call)
            assert states(client) == ["failed"] * 2
            for output in outputs:
                assert isinstance(output.exception, StoppedError), output
                assert output.finished
    """)


def test_a_program_that_reads(run_interrupted: RunInterrupted) -> None:
    run_interrupted("""
        def read():
            with library.ParallelSSHClient([host] * 2, **settings) as client:
                global used
                used = client
                for output in client.run_command(RUNS):
                    list(output.stdout)
        interrupt_when(begun(2))
        interrupted(read)
        assert states(used) == ["failed"] * 2
    """)


def test_one_host(run_interrupted: RunInterrupted) -> None:
    """Whatever is being waited for, it is what is ended, and what else there is goes on."""
    run_interrupted("""
        import pssh.clients.base.ending
        client = library.SSHClient(host, **settings)
        other = client.run_command("cat")
        got = []
        # Nothing else that it has ends this one but a signal. It outlives its connection as well.
        ignores = "echo one; trap '' TERM; " + RUNS

        def terminate(out):
            while not begun(6)():
                gevent.sleep(0.01)
            pssh.clients.base.ending.GRACE = 0.3
            interrupt_when(lambda: True)
            out.terminate(600)

        calls = [
            ("echo one; " + RUNS, client.wait_finished),
            ("echo one; " + RUNS, lambda out: got.extend(out.stdout)),
            ("echo one; " + RUNS, lambda out: next(out.stderr)),
            ("echo one; " + RUNS, lambda out: out.stdin.write(bytes(32_000_000))),
            ("echo one; " + RUNS, lambda out: list(client.read_stderr(out.buffers.stderr[1]))),
            (ignores, terminate),
        ]
        for number, (command, call) in enumerate(calls, 1):
            out = client.run_command(command, shell="exec sh -c")
            if call is not terminate:
                interrupt_when(begun(number))
            interrupted(lambda: call(out))
            assert out.finished
            assert out.exit_signal == ("KILL" if command is ignores else "TERM"), (number, out)
            assert isinstance(out.exception, StoppedError)
            assert host in str(out.exception)
            pssh.clients.base.ending.GRACE = 2.0
            # What it had printed can still be read, and does not end as if it were complete.
            lines = got if number == 2 else []
            try:
                for line in out.stdout:
                    lines.append(line)
            except StoppedError:
                assert lines == ["one"]
            else:
                raise AssertionError("it was cut off")
        # And everything that runs on a client, when its block is left.
        with library.SSHClient(host, **settings) as second:
            def wait():
                with second:
                    outs.append(second.run_command(RUNS))
                    outs.append(second.open_shell().output)
                    outs.append(second.open_shell(use_pty=True).output)
                    outs[-2].stdin.write(RUNS + "\\n")
                    outs[-1].stdin.write(RUNS + "\\n")
                    gevent.sleep(600)
            outs = []
            interrupt_when(begun(len(calls) + 3))
            interrupted(wait)
            assert not second.connected
            assert [out.exit_signal for out in outs] == ["TERM", "HUP", "HUP"], outs
        assert not other.finished
        other.stdin.write("goes on\\n")
        assert next(other.stdout) == "goes on"
    """)


def test_starting(run_interrupted: RunInterrupted) -> None:
    """Before the server has said whether it has started something, it may have."""
    run_interrupted("""
        import pssh.clients.base.ending
        from pssh.clients.base.connection import Connection
        # What comes while sshd has not started the command yet is lost, and the next one counts.
        pssh.clients.base.ending.GRACE = 0.5
        # sshd signals only while the process that it started itself is there.
        DIRECT = "exec sh -c"
        attempt, armed = Connection.attempt, []

        def attempt_and_hit(self, operation, *args):
            result = attempt(self, operation, *args)
            # That is what starts something. Whether there is an answer already is chance.
            if operation.__name__ in ("request_exec", "request_shell") and armed:
                armed.pop()()
            return result

        def hit():
            signal.raise_signal(signal.SIGINT)

        def hit_whoever_waits():
            gevent.get_hub().loop.run_callback(hit)

        Connection.attempt = attempt_and_hit
        one = library.SSHClient(host, **settings)
        many = library.ParallelSSHClient([host] * 2, **settings)
        many.run_command("true")

        def by_rules():
            many.run_command(RUNS, shell=DIRECT, rollout=Rollout())

        calls = [
            (one, lambda: one.run_command(RUNS, shell=DIRECT), [hit]),
            (one, one.open_shell, [hit]),
            (many, lambda: many.run_command(RUNS, shell=DIRECT), [hit_whoever_waits]),
            (many, lambda: many.run_command(RUNS, shell=DIRECT), [hit]),
            (many, many.open_shell, [hit_whoever_waits]),
            (many, by_rules, [hit_whoever_waits]),
        ]
        for number, (client, call, hits) in enumerate(calls):
            armed[:] = hits
            interrupted(call)
            clients = [one] if client is one else many._clients
            assert not any(each.connection.commands for each in clients), number
            if client is many:
                assert states(many) == ["failed"] * 2, (number, states(many))
                many.run_command("true")
                many.join()
                assert states(many) == ["ok"] * 2
            else:
                # The server has come past what it was asked for before.
                one.wait_finished(one.run_command("true"))
    """)


def test_shells(run_interrupted: RunInterrupted) -> None:
    with Silent() as silent:
        run_interrupted(f"""
            client = library.SSHClient(host, **settings)
            count = 0

            def opened(**options):
                global count
                shell = client.open_shell(**options)
                shell.run(RUNS)
                count += 1
                interrupt_when(begun(count))
                return shell

            def leave(shell):
                with shell:
                    gevent.sleep(600)

            for call, options in [
                (lambda shell: shell.close(), {{}}),
                (lambda shell: shell.close(), {{"use_pty": True}}),
                (lambda shell: shell.run("#" * 32_000_000), {{}}),
                (lambda shell: list(shell.stdout), {{}}),
                (leave, {{}}),
            ]:
                shell = opened(**options)
                interrupted(lambda: call(shell))
                assert shell.finished and shell.closed
                assert shell.exit_signal == "HUP", shell
                assert isinstance(shell.exception, StoppedError)

            configs = [HostConfig(), HostConfig(port={silent.port}), HostConfig()]
            many = library.ParallelSSHClient(
                [host] * 3, host_config=configs, pool_size=1, **settings
            )
            interrupt_when(lambda: many._clients[1])
            interrupted(many.open_shell)
            assert states(many) == ["failed", "unreachable", "not tried"]
            assert many.last_result.stopped == "this program was interrupted"

            many = library.ParallelSSHClient([host] * 2, **settings)
            for call in [
                many.join_shells,
                lambda shells: many.run_shell_commands(shells, "#" * 32_000_000),
                lambda shells: list(shells[0].stdout),
            ]:
                shells = many.open_shell()
                assert len(many.last_result.pending) == 2
                many.run_shell_commands(shells, "echo one; " + RUNS)
                count += 2
                interrupt_when(begun(count))
                interrupted(lambda: call(shells))
                assert states(many) == ["failed"] * 2
                for shell in shells:
                    assert shell.closed and isinstance(shell.exception, StoppedError), shell
            assert next(shells[1].stdout) == "one"
            shells = many.open_shell()
            many.run_shell_commands(shells, "echo again")
            many.join_shells(shells)
            assert states(many) == ["ok"] * 2
        """)


def test_connecting(run_interrupted: RunInterrupted) -> None:
    """Nothing is left of the attempt: neither the connection nor what leads there."""
    with Silent() as silent:
        run_interrupted(f"""
            library.SSHClient(host, **settings).close()
            proxy = {{"proxy_host": host, "proxy_port": settings["port"]}}
            command = {{"proxy_command": f"sh -c '{{RUNS}}'"}}
            settings["port"] = {silent.port}
            open_files = lambda: len(os.listdir("/proc/self/fd"))
            before = open_files()
            for more in ({{}}, proxy, command):
                has_begun = begun(1 if more is command else 0)
                interrupt_when(lambda: open_files() > before and has_begun())
                interrupted(lambda: library.SSHClient(host, **settings, **more))
                while open_files() > before:
                    gevent.sleep(0.01)
        """)


def test_bastions_and_tunnels(run_interrupted: RunInterrupted) -> None:
    """What carries others' bytes goes on: to end commands takes a way to them."""
    run_interrupted("""
        from gevent import socket
        from pssh.clients.base.pump import Pump
        from pssh.clients.base.tunnel import Tunnel
        from pssh.exceptions import ConnectionLostError

        from_channel, armed = Pump.from_channel, []

        def hit(call):
            # As if what was just read from the channel had not been put anywhere yet.
            def from_channel_and_hit(pump):
                if armed:
                    armed.clear()
                    signal.raise_signal(signal.SIGINT)
                return from_channel(pump)

            Pump.from_channel = from_channel_and_hit
            armed.append(True)
            interrupted(call)
            Pump.from_channel = from_channel

        # Nothing but the bastion's connection has anything to do.
        client = library.ParallelSSHClient(
            [host] * 2, proxy_host=host, proxy_port=settings["port"], **settings
        )
        outputs = client.run_command(RUNS, shell="exec sh -c")
        interrupt_when(begun(2))
        interrupted(client.join)
        assert states(client) == ["failed"] * 2
        assert [out.exit_signal for out in outputs] == ["TERM"] * 2, outputs
        interrupted(lambda: (interrupt_when(lambda: True), gevent.sleep(600)))

        # The greenlet that carries has its turn: what it has in hand for one of the hosts is lost,
        # and not the way to the others. What one prints has it come there all the time.
        quiet = client.run_command("%s", host_args=["exec yes", RUNS], shell="exec sh -c")
        hit(client.join)
        assert [type(out.exception) for out in quiet][1] is StoppedError, quiet
        assert quiet[1].exit_signal == "TERM"
        assert isinstance(quiet[0].exception, (StoppedError, ConnectionLostError))
        assert host in str(quiet[0].exception)
        assert states(client) == ["failed"] * 2
        again = client.run_command("echo again")
        assert [list(out.stdout) for out in again] == [["again"]] * 2
        client.close()

        # A tunnel is as it was, and so are those of its connections that were not being served.
        one = library.SSHClient(host, **settings)
        with Tunnel(one, host, settings["port"]) as tunnel:
            def connect():
                socks.append(socket.create_connection(("127.0.0.1", tunnel.listen_port)))
                assert socks[-1].recv(4) == b"SSH-"
                while socks[-1].recv(1) != b"\\n":
                    pass

            socks = []
            connect()
            connect()
            interrupt_when(lambda: True)
            interrupted(lambda: gevent.sleep(600))
            hit(connect)
            connect()
            answers = 0
            for sock in socks:
                sock.sendall(b"no SSH client\\r\\n")
                answers += bool(sock.recv(1))
                sock.close()
            assert answers >= len(socks) - 1, answers
        # One that is left open keeps no program from its end.
        Tunnel(one, host, settings["port"]).start()
    """)


def test_files(run_interrupted: RunInterrupted) -> None:
    """What a copy has written is removed, and the client goes on being of use."""
    run_interrupted("""
        client = library.SSHClient(host, **settings)
        big, target = folder + "/big", folder + "/target"
        with open(big, "wb") as file:
            file.write(bytes(1000000))

        for copy in (client.copy_file, client.copy_remote_file, client.scp_send, client.scp_recv):
            there = client.copy_file, client.scp_send
            size = os.path.getsize if copy in there else lambda path: 1
            interrupt_when(lambda: os.path.exists(target) and size(target))
            interrupted(lambda: copy(big, target, limit_rate=20000))
            assert not os.path.exists(target), copy

        # The greenlet that reads what the server says has its turn in between.
        from pssh.sftp.exchange import Exchange
        receive, armed = Exchange.receive, []

        def receive_and_hit(self, *pieces):
            if armed and os.path.exists(target) and os.path.getsize(target):
                armed.clear()
                signal.raise_signal(signal.SIGINT)
            return receive(self, *pieces)

        Exchange.receive = receive_and_hit
        many = library.ParallelSSHClient([host], **settings)
        for call in (
            lambda: client.copy_file(big, target, limit_rate=20000),
            lambda: gevent.joinall(many.copy_file(big, target, limit_rate=20000)),
        ):
            armed.append(call)
            interrupted(call)
            assert not os.path.exists(target)
        assert states(many) == ["failed"]
        assert isinstance(many.last_result[0].exception, StoppedError)

        os.truncate(big, 1000000000)
        with client.open_sftp() as sftp, sftp.open(big) as file:
            interrupt_when(lambda: True)
            interrupted(lambda: file.read())
        os.truncate(big, 1000)
        client.copy_file(big, target)
        assert os.path.getsize(target) == 1000
        assert list(client.run_command("echo again").stdout) == ["again"]
    """)


def test_functions_of_the_program(run_interrupted: RunInterrupted) -> None:
    """The signal may come while a function has its turn that was given to us."""
    run_interrupted("""
        def hit(*args):
            if armed:
                armed.clear()
                signal.raise_signal(signal.SIGINT)

        def input():
            yield "first"
            hit()

        one = library.SSHClient(host, **settings)
        many = library.ParallelSSHClient([host] * 2, **settings)
        # One is hit while the other may not have been started, but it has been reached.
        gevent.joinall(many.connect_auth(), raise_error=True)
        # Whoever gets no more input must not take that for all of it.
        for options in ({"on_line": hit}, {"stdin": input()}):
            armed = [True]
            command = "echo one; cat; echo all; " + RUNS
            interrupted(lambda: one.wait_finished(one.run_command(command, **options)))
            assert not one.connection.commands
        for options in ({"on_line": hit}, {"stdin": input()}):
            def run():
                many.run_command(command, **options)
                many.join()
            armed = [True]
            interrupted(run)
            assert states(many) == ["failed"] * 2
            for output in many.get_last_output():
                assert output.stdout is None or "all" not in output.stdout.take_lines(), options
                assert isinstance(output.exception, StoppedError), output
        assert not glob.glob(folder + "/*.pid")
    """)


def test_greenlets(run_interrupted: RunInterrupted) -> None:
    """One host is being copied to, one connects, and one has not had its turn."""
    with Silent() as silent:
        run_interrupted(f"""
            configs = [HostConfig(), HostConfig(port={silent.port}), HostConfig()]
            settings.update(host_config=configs, pool_size=2)
            big = folder + "/big"
            with open(big, "wb") as file:
                file.write(bytes(1000000))
            waits = [
                gevent.joinall,
                lambda tasks: gevent.joinall(tasks, raise_error=True),
                lambda tasks: tasks[2].get(),
                lambda tasks: tasks[2].join(),
                lambda tasks: list(gevent.iwait(tasks)),
            ]
            for number, wait in enumerate(waits):
                client = library.ParallelSSHClient([host] * 3, **settings)
                target = f"{{folder}}/{{number}}"
                copy = client.scp_send if number == 1 else client.copy_file
                tasks = copy(big, target, limit_rate=20000)
                interrupt_when(lambda: os.path.exists(target) and os.path.getsize(target))
                interrupted(lambda: wait(tasks))
                assert states(client) == ["failed", "unreachable", "not tried"], number
                assert list(map(type, (task.exception for task in tasks))) == [
                    StoppedError, StoppedError, NotTriedError
                ]
                while os.path.exists(target):
                    gevent.sleep(0.01)
                client.close()
            client = library.ParallelSSHClient([host] * 3, **settings)
            client.pool_size = 2
            tasks = client.connect_auth(rollout=Rollout(fanout=1))
            interrupt_when(tasks[0].ready)
            interrupted(lambda: gevent.joinall(tasks))
            assert states(client) == ["ok", "unreachable", "not tried"], client.last_result
        """)


def test_a_greenlet_of_the_library(run_interrupted: RunInterrupted) -> None:
    """The signal may come while one of our greenlets has its turn, as when it reads."""
    run_interrupted("""
        from pssh.clients.base.command import Command
        move, armed, hit = Command._move, [], []

        def move_and_hit(self, *args):
            moved = move(self, *args)
            # Not before the call that is to be interrupted: both may have begun earlier.
            if armed and not hit and begun(2)():
                hit.append(self)
                signal.raise_signal(signal.SIGINT)
            return moved

        Command._move = move_and_hit
        client = library.ParallelSSHClient([host] * 2, **settings)
        for call in (client.join, None):
            command = RUNS.replace("sleep", "while sleep 0.05; do echo x; done; sleep")
            run = lambda: client.run_command(command, rollout=Rollout())
            if call is not None:
                client.run_command(command)
            armed.append(call)
            interrupted(call or run)
            assert states(client) == ["failed"] * 2
            for output in client.get_last_output():
                assert isinstance(output.exception, StoppedError), output
            assert hit
            hit.clear()
            armed.clear()
            for path in glob.glob(folder + "/*.pid"):
                os.rename(path, path + ".done")
    """)


def test_a_second_time(run_interrupted: RunInterrupted) -> None:
    """Somebody is in a hurry: nothing is waited for any more, and connections are closed."""
    run_interrupted("""
        import pssh.clients.base.ending
        pssh.clients.base.ending.GRACE = 600
        command = "trap '' TERM; " + RUNS.partition(";")[0] + "; exec cat"
        for number, rollout in enumerate((None, Rollout()), 1):
            client = library.ParallelSSHClient([host], **settings)

            def run():
                client.run_command(command, shell="exec sh -c", rollout=rollout)
                client.join()

            def is_being_ended():
                result = client.last_result
                output = result[0].output if result else None
                return output is not None and output.command._aborted is not None

            interrupt_when(begun(number))
            interrupt_when(is_being_ended)
            interrupted(run)
            assert not client._clients[0].connected, number
            gevent.wait([client.last_result[0].output.command.done])
            assert states(client) == ["failed"], (number, states(client))
            assert isinstance(client.last_result[0].exception, StoppedError), client.last_result
    """)
