"""Python programs that begin at once: copies of a process that has loaded what they need.

To start an interpreter and load our package, or asyncssh, costs ten times what most of the programs
do after that.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from tests.servers.process import ServerProcess, ended_with_parent
from tests.servers.process_tree import kill_trees
from tests.servers.template_child import MESSAGE_LIMIT, Job

CHECKOUT = Path(__file__).resolve().parents[2]

Self = TypeVar("Self", bound="Template")


class Template:
    """A Python process that has loaded a module and copies itself; a context manager.

    :param module: the module.
    :param attributes: those of its attributes that it loads when they are first asked for.
    :param options: options of the interpreter.
    """

    def __init__(
        self, module: str, *, attributes: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            child = ["-m", "tests.servers.template_child", str(number), module, *attributes]
            self._process = subprocess.Popen(
                [*ended_with_parent(), sys.executable, *options, *child],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[number],
                cwd=CHECKOUT,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                start_new_session=True,
            )

    def start(
        self,
        source: str,
        streams: Sequence[int],
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
    ) -> Copy:
        """Start a program in a session of its own.

        :param source: what ``python -c`` would be given.
        :param streams: its standard input, output and error output; they can be closed after that.
        :param environment: its whole environment.
        :param arguments: its arguments, after the program's name.
        """
        job = Job(source, ["-c", *arguments], dict(environment))
        pid = self._ask(job, streams)
        return Copy(self, pid)

    def exit_code(self, pid: int) -> int:
        """How a copy has ended. It can be asked for once."""
        return self._ask(pid)

    def stop(self) -> None:
        """End it and its copies."""
        kill_trees([self._process.pid])
        self._process.wait()
        self._control.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _ask(self, request: Job | int, streams: Sequence[int] = ()) -> int:
        message = json.dumps(request).encode()
        assert len(message) <= MESSAGE_LIMIT, "the program is too long"
        socket.send_fds(self._control, [message], streams)
        answer = self._control.recv(MESSAGE_LIMIT)
        assert answer, "the template has ended"
        return int(answer)


class Copy:
    """A program that :class:`Template` has started, with what we use of :class:`subprocess.Popen`.

    Attributes: ``pid``; ``stdin`` and ``stdout``, where it has a pipe.
    """

    def __init__(self, template: Template, pid: int) -> None:
        self._template = template
        self.pid = pid
        # It is not our child, and its number is not given to another before we have asked how it
        # has ended.
        self._ended = os.pidfd_open(pid)
        self._exit_code: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, ``None`` while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        :param timeout: in seconds.
        :raises subprocess.TimeoutExpired: when it has not ended by then.
        """
        code = self._wait(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired("a copy", timeout or 0)
        return code

    def _wait(self, milliseconds: float | None) -> int | None:
        if self._exit_code is None:
            end = select.poll()
            end.register(self._ended, select.POLLIN)
            if end.poll(milliseconds):
                os.close(self._ended)
                self._exit_code = self._template.exit_code(self.pid)
        return self._exit_code


class CopiedServer(ServerProcess):
    """A server that is a Python program.

    :param template: has loaded what it needs.
    :param source: starts it.
    :param arguments: its arguments.
    :param log_path: gets its error output; its output is ``stdout``.
    """

    def __init__(
        self, template: Template, source: str, arguments: Sequence[str], log_path: Path
    ) -> None:
        self._template = template
        self._source = source
        super().__init__(["python", *arguments], log_path, pipe_output=True)

    def _begin(
        self,
        command: Sequence[str],
        log: IO[bytes],
        environment: Mapping[str, str] | None,
        pipe_output: bool,
    ) -> Copy:
        stdin, our_stdin = os.pipe()
        our_stdout, stdout = os.pipe()
        try:
            streams = (stdin, stdout, log.fileno())
            copy = self._template.start(
                self._source, streams, environment or os.environ, command[1:]
            )
        finally:
            os.close(stdin)
            os.close(stdout)
            copy_stdin, copy_stdout = os.fdopen(our_stdin, "wb"), os.fdopen(our_stdout, "rb")
        copy.stdin, copy.stdout = copy_stdin, copy_stdout
        return copy
