"""The way to a host through a command: its input and output are the connection."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.monkey import get_original

from pssh.clients.base.tcp import NO_DESCRIPTORS, connect_error
from pssh.clients.base.threads import outcome, pool
from pssh.clients.base.transport import (
    Attempt,
    Final,
    Transport,
    TransportSocket,
    carried_pair,
    close_drained,
)
from pssh.exceptions import ProxyConnectionLostError, ProxyError
from pssh.utils import logger

# The real ones, also when the program has made the standard library cooperative.
_new_process: Callable[..., Any] = get_original("subprocess", "Popen")
_get_ident: Callable[[], int] = get_original("_thread", "get_ident")

#: What a pipe holds.
_BLOCK = 64 * 1024
#: Seconds that a command may take to end by itself when its connection has ended.
_GRACE = 1.0
#: What is kept of what a command says on its standard error: the last of it.
_SAID_MAX = 4096

#: Not to wait for a process that does not read, nor to be killed for one that has gone.
_SEND_FLAGS = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)

Process = subprocess.Popen[bytes]


class ProxyCommand(Transport):
    """Starts a command, without a shell, and speaks over it (ssh_config(5), ProxyCommand).

    :param words: the command and its arguments.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def open(self, to: Attempt) -> TransportSocket:
        try:
            sock, other_end = carried_pair()
        except OSError as ex:
            raise connect_error(to, ex) from ex
        # The command's standard input is the very socket, and commands expect to wait there.
        other_end.setblocking(True)
        try:
            process = _start(self._words, other_end)
        except BaseException as ex:
            sock.close()
            other_end.close()
            if not isinstance(ex, OSError):
                raise
            if ex.errno in NO_DESCRIPTORS:
                raise connect_error(to, ex) from ex
            raise Final(self._not_started(to, ex)) from ex
        sock.carrier = CommandCarrier(process, other_end)
        sock.explain = lambda error: self._lost(to, error)
        return sock

    def _not_started(self, to: Attempt, error: OSError) -> ProxyError:
        return ProxyError(
            "Host %s:%s cannot be reached: the proxy command %s could not be started: %s",
            to.host,
            to.port,
            shlex.join(self._words),
            error.strerror or error,
            host=to.host,
            port=to.port,
        )

    def _lost(self, to: Attempt, error: BaseException) -> ProxyConnectionLostError:
        return ProxyConnectionLostError(
            "The connection to host %s:%s was lost: the proxy command %s %s",
            to.host,
            to.port,
            shlex.join(self._words),
            error,
            host=to.host,
            port=to.port,
        )


def _start(words: Sequence[str], standard_input: socket.socket) -> Process:
    """Start a process, in a thread: the system may take its time.

    :raises OSError: when that is not possible.
    """
    starting = pool("processes").spawn(outcome, _popen, words, standard_input)
    try:
        process, error = starting.get()
    except BaseException:
        # Nobody waits for it any more, and it is on its way.
        starting.rawlink(_end_unwanted)
        raise
    if error is not None:
        raise error
    started: Process = process
    return started


def _popen(words: Sequence[str], standard_input: socket.socket) -> Process:
    process: Process = _new_process(
        words,
        stdin=standard_input.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        # What the user types at the terminal is for the program: Ctrl-C too.
        start_new_session=True,
    )
    return process


def _end_unwanted(starting: Any) -> None:
    process, _ = starting.value
    if process is not None:
        _kill(process, os.getpid())
        _Exit(process, lambda: None)


def _kill(process: Process, owner: int) -> None:
    """Kill a process that has not been waited for, and what it has started.

    :param owner: the process that started it; a forked copy of that leaves it alone.
    """
    if os.getpid() != owner:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class CommandCarrier:
    """Carries what a command prints into a session's socket, and sees to its end.

    :param process: the command. Its standard input is the socket's other end already.
    :param sock: that other end.
    :ivar passed_on: how many bytes of its output have been put into the socket.
    :ivar error: how it ended, where it was the first to end.
    """

    __slots__ = (
        "_ended",
        "_exit",
        "_grace",
        "_hub",
        "_owner",
        "_pending",
        "_process",
        "_readable",
        "_said",
        "_says",
        "_sock",
        "_thread",
        "_writable",
        "error",
        "passed_on",
    )

    def __init__(self, process: Process, sock: socket.socket) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._sock = sock
        self._hub = gevent.get_hub()
        self._thread = _get_ident()
        self._owner = os.getpid()
        self.passed_on = 0
        self.error: BaseException | None = None
        self._pending = memoryview(b"")
        self._said = b""
        self._ended = False
        self._grace: Any = None
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        loop = self._hub.loop
        self._readable = loop.io(process.stdout.fileno(), 1, ref=False)
        self._writable = loop.io(sock.fileno(), 2, ref=False)
        self._says = loop.io(process.stderr.fileno(), 1, ref=False)
        self._readable.start(self._read)
        self._says.start(self._listen)
        self._exit = _Exit(process, self._settle)

    # Its output

    def _read(self) -> None:
        try:
            data = os.read(self._readable.fd, _BLOCK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._pending = memoryview(data)
        self._write()

    def _write(self) -> None:
        while self._pending:
            try:
                sent = self._sock.send(self._pending, _SEND_FLAGS)
            except BlockingIOError:
                self._readable.stop()
                self._writable.start(self._write)
                return
            except OSError:
                self._end()
                return
            self._pending = self._pending[sent:]
            self.passed_on += sent
        self._writable.stop()
        self._readable.start(self._read)

    def _listen(self) -> None:
        """Read what it says on its standard error."""
        try:
            data = os.read(self._says.fd, _BLOCK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._says.stop()
            return
        logger.debug("The proxy command %s says: %r", self._process.args, data)
        self._said = (self._said + data)[-_SAID_MAX:]

    # Its end

    def stop(self) -> None:
        """The session has closed its socket. It can be called in any thread."""
        if _get_ident() != self._thread:
            if self._hub.loop is not None:
                self._hub.loop.run_callback_threadsafe(self.stop)
        else:
            # What it reads has come to its end, which it should take as the reason to end.
            self._end()

    def _end(self) -> None:
        """Nothing more will be carried: have it end, if need be by force."""
        if self._ended:
            return
        self._ended = True
        self._pending = memoryview(b"")
        self._readable.stop()
        self._writable.stop()
        if self._exit.done:
            self._settle()
            return
        self._grace = self._hub.loop.timer(_GRACE, ref=False)
        self._grace.start(_kill, self._process, self._owner)

    def _settle(self) -> None:
        """Once it has ended and been waited for, and all that it printed is carried."""
        if not self._ended or not self._exit.done:
            return
        self._listen()
        self.error = _CommandEnded(self._process.returncode, self._said)
        if self._grace is not None:
            self._grace.close()
        for watcher in (self._readable, self._writable, self._says):
            watcher.close()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        # Only now, so that the session's end can be explained.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        close_drained(self._sock)


class _CommandEnded(Exception):
    """How a command ended.

    :param code: its exit code, or the negative number of a signal.
    :param said: what it said last on its standard error.
    """

    def __init__(self, code: int, said: bytes) -> None:
        how = f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
        text = said.decode("utf-8", "replace").strip()
        super().__init__(f"{how}: {text}" if text else f"{how}, and said nothing")


class _Exit:
    """Waits for a process to end, so that nothing is left of it, without holding up the loop.

    :param process: the process.
    :param on_exit: called in the loop when it has ended.
    :ivar done: whether it has.
    """

    __slots__ = ("_descriptor", "_on_exit", "_process", "_watcher", "done")

    def __init__(self, process: Process, on_exit: Callable[[], None]) -> None:
        self._process = process
        self._on_exit = on_exit
        self.done = False
        self._watcher: Any = None
        self._descriptor = -1
        try:
            self._descriptor = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            # Not on every system, nor without descriptors.
            pool("processes").spawn(process.wait).rawlink(lambda _: self._ended())
            return
        self._watcher = gevent.get_hub().loop.io(self._descriptor, 1, ref=False)
        self._watcher.start(self._look)

    def _look(self) -> None:
        if self._process.poll() is None:
            return
        self._watcher.stop()
        self._watcher.close()
        os.close(self._descriptor)
        self._ended()

    def _ended(self) -> None:
        self.done = True
        self._on_exit()
