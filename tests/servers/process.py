"""A server program as a child process that never outlives us."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, TypeVar

from tests.servers.process_tree import child_processes, kill_trees, wait_until, wait_until_gone

Self = TypeVar("Self", bound="ServerProcess")


class Process(Protocol):
    """What we use of :class:`subprocess.Popen`."""

    pid: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class MissingProgramError(RuntimeError):
    """A program that a server needs is not installed."""


class ServerStartError(RuntimeError):
    """A server ended, or said nothing, before it was ready."""


def find_program(name: str, package: str) -> str:
    """The absolute path of a program, looked for in the system folders too.

    :param package: Debian's package that contains it, for the message.
    :raises MissingProgramError: when it is not installed.
    """
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingProgramError(f"{name} is not installed (Debian package {package}).")
    return str(Path(found).absolute())


def free_port(*hosts: str) -> int:
    """A TCP port on which nobody listens at this moment.

    :param hosts: on which of our addresses, by default on ``127.0.0.1``.
    """
    first, *others = hosts or ("127.0.0.1",)
    while True:
        with closing(socket.socket(_family(first))) as probe:
            probe.bind((first, 0))
            port = int(probe.getsockname()[1])
        if not any(_is_taken(host, port) for host in others):
            return port


def is_listening(port: int, *hosts: str) -> bool:
    """Whether somebody listens on the port of each of our addresses, by default ``127.0.0.1``.

    Unlike connecting, asking leaves no trace there, and unlike reading the kernel's table of
    connections it costs next to nothing.
    """
    return all(_is_taken(host, port) for host in hosts or ("127.0.0.1",))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_taken(host: str, port: int) -> bool:
    try:
        with socket.socket(_family(host)) as probe:
            # Only one that listens stands in the way of this; nor does this stand in the way of
            # a server that is about to do so.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


class ServerProcess:
    """A child in a session of its own, ended with all its descendants, also when we fail.

    :param command: the program's absolute path and its arguments.
    :param log_path: gets the child's error output, and its output unless that is piped.
    :param environment: the child's whole environment.
    :param pipe_output: give the child's output as ``stdout``, to read a first line from.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        pipe_output: bool = False,
    ) -> None:
        self.log_path = log_path
        self.name = Path(command[0]).name
        self._owner = os.getpid()
        with log_path.open("ab") as log:
            self._process = self._begin(command, log, environment, pipe_output)
        self.stdout = self._process.stdout
        self.pid = self._process.pid
        atexit.register(self.stop)

    def _begin(
        self,
        command: Sequence[str],
        log: IO[bytes],
        environment: Mapping[str, str] | None,
        pipe_output: bool,
    ) -> Process:
        """Start the child."""
        return subprocess.Popen(
            [*ended_with_parent(), *command],
            # Our own children watch for the end of this pipe and end then, too.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if pipe_output else log,
            stderr=log,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )

    def is_running(self) -> bool:
        """Whether the child itself still runs."""
        return self._process.poll() is None

    def children(self) -> list[int]:
        """The child's own running children."""
        return child_processes(self.pid)

    def wait_until_listening(self, port: int, *hosts: str, timeout: float = 10.0) -> None:
        """Wait until the child listens on the port.

        :param hosts: on which of our addresses, by default on ``127.0.0.1``.
        :param timeout: in seconds.
        :raises ServerStartError: when it ends first or takes too long; its log is in the message.
        """
        self._wait_until(
            lambda: is_listening(port, *hosts), f"{self.name} to listen on {port}", timeout
        )
        if not self.is_running():
            raise self._start_error(f"{self.name} ended before it listened on {port}.")

    def read_line(self) -> str:
        """The next line of the child's piped output, without its ending.

        :raises ServerStartError: when the child ends instead; its log is in the message.
        """
        assert self.stdout is not None, "only with pipe_output"
        line = self.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._start_error(f"{self.name} ended before it said that it is ready.")
        return line.decode().rstrip("\n")

    def stop(self) -> None:
        """SIGKILL the child and all its descendants, and wait until they are gone."""
        if os.getpid() != self._owner:
            return  # a forked copy of us: the server belongs to the original
        if self.is_running():
            killed = kill_trees([self.pid])
            self._process.wait()
            wait_until_gone(killed)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        atexit.unregister(self.stop)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        def ready_or_ended() -> bool:
            return condition() or not self.is_running()

        try:
            wait_until(ready_or_ended, what, timeout)
        except TimeoutError as error:
            raise self._start_error(str(error)) from error

    def _start_error(self, sentence: str) -> ServerStartError:
        log = self.log_path.read_text(errors="replace")
        return ServerStartError(f"{sentence}\n{log}")


def ended_with_parent() -> list[str]:
    """A command prefix for the case that we are killed and cannot end our children ourselves."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
