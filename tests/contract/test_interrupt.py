"""Ctrl-C: programs of their own that get SIGINT in the middle of a call."""

from __future__ import annotations

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
        for path in remote_folder.glob("*.pid*"):
            wait_for_end(Path("/proc") / path.read_text().strip())

    return run


def wait_for_end(process: Path) -> None:
    eventually(lambda: not process.exists(), f"the end of {process}")


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
