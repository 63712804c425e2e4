"""A command that runs on a host: its streams, its input and how it ended."""

from __future__ import annotations

import contextlib
import signal
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from pssh.clients.base import freed_memory
from pssh.clients.base.connection import Connection
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.seam import NOT_SAID, STDERR, STDOUT, WOULD_BLOCK, Channel
from pssh.clients.base.sudo import SudoDialogue
from pssh.clients.reader import ConcurrentRWBuffer
from pssh.exceptions import AuthenticationError, InvalidAPIUseError, PSSHError, SessionError

if TYPE_CHECKING:
    from pssh.clients.base.follower import LineFollower

#: What is read at once: little, as most commands print little and the memory for each read
#: is fresh, and after a read that was full more. Beyond this it costs more than it saves.
FIRST_READ_SIZE = 16 * 1024
#: From 128 KiB on, the C library would ask the system for the memory of each read.
READ_SIZE = 128 * 1024 - 64
#: What a command that prints much has in memory at a time, before its consumer: a few reads.
_IN_USE = 1024 * 1024
WRITE_SIZE = 256 * 1024

#: The character that ends the input of what reads a terminal (VEOF, termios(3)), as long as nobody
#: has changed that.
_CTRL_D = b"\x04"


class Command:
    """A command on its channel.

    One greenlet is in :meth:`run`: it reads both streams into their buffers, waits for the
    end, and closes the channel. When :attr:`done` is set, everything that there will ever be
    is in the buffers.

    :param connection: the connection.
    :param channel: a channel on which a command has been started.
    :param buffer_size: bytes of each stream that stay in memory.
    :param buffer_overflow: what happens beyond that (:class:`ConcurrentRWBuffer`).
    :param sudo: answers sudo's question for a password.
    :param has_pty: whether it runs on a pseudo terminal.
    :param first_signal: the signal that is to end it, before KILL has to.
    """

    __slots__ = (
        "__weakref__",
        "_aborted",
        "_at_line_begin",
        "_exit",
        "_input_ended",
        "_input_lock",
        "_may_hold_back",
        "_read_size",
        "_reader",
        "_sudo",
        "channel",
        "closed_here",
        "connection",
        "done",
        "error",
        "first_signal",
        "follower",
        "has_pty",
        "stderr",
        "stdout",
    )

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        buffer_size: int,
        buffer_overflow: str,
        sudo: SudoDialogue | None = None,
        has_pty: bool = False,
        first_signal: str = "TERM",
    ) -> None:
        self.connection = connection
        self.channel = channel
        self._may_hold_back = buffer_overflow == "block"
        on_space = connection.wake if self._may_hold_back else None
        self.stdout = ConcurrentRWBuffer(buffer_size, buffer_overflow, on_space)
        self.stderr = ConcurrentRWBuffer(buffer_size, buffer_overflow, on_space)
        self.done = Event()
        #: Why there is no true end, when there is none.
        self.error: BaseException | None = None
        self.closed_here = False
        self.has_pty = has_pty
        self.first_signal = first_signal
        #: Who takes the lines as they come, if somebody does.
        self.follower: LineFollower | None = None
        self._reader: Any = None
        self._aborted: BaseException | None = None
        self._exit = NOT_SAID
        self._input_lock: BoundedSemaphore | None = None
        self._input_ended = False
        self._at_line_begin = True
        self._sudo = sudo
        self._read_size = FIRST_READ_SIZE
        channel.owner = weakref.ref(self)

    # How it ended

    @property
    def exit_code(self) -> int | None:
        """The exit status; the negative number of the signal that killed it; or ``None``."""
        if not self.done.is_set():
            return None
        if self._exit.signal is not None:
            return -_signal_number(self._exit.signal)
        return self._exit.status

    @property
    def exit_signal(self) -> str | None:
        """The name of the signal that killed it, without ``SIG``."""
        return self._exit.signal if self.done.is_set() else None

    # Reading

    def run(self) -> None:
        """Read until the command has ended. Once, in a greenlet of whoever started it."""
        error: BaseException | None = None
        self._reader = gevent.getcurrent()
        self.connection.commands[self] = None
        try:
            self._read_whatever_happens()
            refused = self._sudo is not None and self._rest_of_sudo(self._sudo)
            self.connection.call(self.channel.wait_closed)
            self._exit = self.channel.exit_status()
            if self._aborted is not None:
                error = self._aborted
            elif refused:
                error = self._sudo_refused()
            elif self._exit == NOT_SAID and not self.closed_here:
                error = self._no_exit_status()
            self._close_channel()
        except PSSHError as ex:
            error = ex
            if not self.connection.alive:
                error = self._aborted or self.connection.end()
                self._keep_what_arrived()
                if self._ended_before_the_loss():
                    error = None
            elif not self.closed_here:
                self._close_channel()
        except OSError as ex:
            # A temporary file that cannot grow.
            error = self._no_room(ex)
            self._close_channel()
        except BaseException as ex:
            # Not foreseen: whoever reads must learn of it rather than see an ordinary end.
            error = ex
            raise
        finally:
            self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        self._reader = None
        self.error = error
        self.connection.commands.pop(self, None)
        self.connection.release(self.channel)
        self.stdout.close(error)
        self.stderr.close(error)
        self.done.set()
        if self._sudo is not None:
            self._sudo.over.set()
            self._sudo = None

    def _read_whatever_happens(self) -> None:
        while True:
            try:
                self._read_to_end()
                return
            except KeyboardInterrupt as ex:
                # It came while this greenlet had its turn, but is meant for the program, which
                # may still want the command ended. What was just read may be missing.
                self.cut_short(ex)
                pass_on(ex)

    def _read_to_end(self) -> None:
        connection, channel = self.connection, self.channel
        taken = -1
        while True:
            moved = self._move(STDOUT, self.stdout)
            if channel.at_eof():
                return
            # That has taken everything from the socket, for standard error as well.
            if channel.has_arrived(STDERR):
                moved = self._move(STDERR, self.stderr) or moved
                if channel.at_eof():
                    return
                # And this may have taken something for standard output, which no socket
                # would wake us for.
                if not moved and taken != connection.bytes_taken():
                    taken = connection.bytes_taken()
                    continue
            if not moved:
                connection.wait()
            elif self.stdout.crowded or self.stderr.crowded:
                # The consumer has its turn before more is read than memory is meant to hold.
                gevent.sleep(0)
            # A library may open the window for a channel again when any of its streams is
            # read: to hold the command back, neither of them is.
            while self._may_hold_back and self.held_back:
                connection.park()

    @property
    def held_back(self) -> bool:
        """Whether nothing is read until somebody takes what has been read."""
        return self.stdout.full or self.stderr.full

    def _move(self, stream: int, buffer: ConcurrentRWBuffer) -> bool:
        """Read once from a stream into its buffer; whether there may be more at once."""
        data = self.connection.attempt(self.channel.read, stream, self._read_size)
        if data is WOULD_BLOCK or not data:
            return False
        if len(data) == self._read_size:
            self._read_size = READ_SIZE
            freed_memory.keep(_IN_USE)
        if self._sudo is not None and stream == self._sudo.stream:
            data = self._after_sudo(self._sudo, data)
        if data:
            buffer.write(data)
        return True

    def _rest_of_sudo(self, sudo: SudoDialogue) -> bool:
        """Keep what sudo said instead of running the command; whether it was the password."""
        buffer = self.stdout if sudo.stream == STDOUT else self.stderr
        buffer.write(sudo.rest())
        return sudo.refused

    def _after_sudo(self, sudo: SudoDialogue, data: bytes) -> bytes:
        """Answer sudo, and keep what the two of us say out of the command's output."""
        passed_on = sudo.receive(data)
        if sudo.refused:
            raise self._sudo_refused()
        if sudo.wants_password:
            sudo.wants_password = False
            self._send(sudo.answer())
        if sudo.passed:
            self._sudo = None
            sudo.over.set()
        return passed_on

    def _sudo_refused(self) -> PSSHError:
        host, port = self.connection.host, self.connection.port
        return AuthenticationError(
            "sudo on host %s:%s did not accept sudo_password", host, port, host=host, port=port
        )

    def _close_channel(self) -> None:
        # Nobody waits for an answer: either it has come, or it does not matter.
        try:  # noqa: SIM105 (which costs more than the rest of this)
            self.connection.attempt(self.channel.close)
        except PSSHError:
            pass

    def _keep_what_arrived(self) -> None:
        """Give the consumer what the library had received before the connection was lost."""
        for stream, buffer in ((STDOUT, self.stdout), (STDERR, self.stderr)):
            with contextlib.suppress(OSError):
                while data := self.channel.read_arrived(stream, READ_SIZE):
                    buffer.write(data)

    def _ended_before_the_loss(self) -> bool:
        """Whether the command had ended, and told everything, when the connection was lost."""
        with contextlib.suppress(SessionError):
            told = self.channel.exit_status()
            if told != NOT_SAID and self.channel.at_eof():
                self._exit = told
                return True
        return False

    def _no_exit_status(self) -> PSSHError:
        host, port = self.connection.host, self.connection.port
        return SessionError(
            "Host %s:%s closed the command's channel without saying how the command ended",
            host,
            port,
            host=host,
            port=port,
        )

    def _no_room(self, error: OSError) -> PSSHError:
        host, port = self.connection.host, self.connection.port
        made = SessionError(
            "The output of the command on host %s:%s could not be kept: %s",
            host,
            port,
            error.strerror or error,
            host=host,
            port=port,
        )
        made.__cause__ = error
        return made

    # Writing

    def write(self, data: bytes) -> None:
        """Send bytes to the command's standard input, as fast as it takes them.

        :raises SessionError: when the input has been closed or the command has finished.
        :raises ConnectionLostError: when the connection has ended.
        """
        with self._writing():
            self._check_input()
            try:
                self._send(data)
            except SessionError:
                # The command may have finished meanwhile: each library has its own words for that.
                self._check_input()
                raise
            if data:
                self._at_line_begin = data[-1:] in (b"\n", b"\r")

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.connection.call_promptly(self.channel.write, view[:WRITE_SIZE]) :]

    def end_input(self) -> None:
        """Send EOF: there will be no more input. Once is enough; again does nothing.

        What reads a terminal does not see that, but Ctrl-D: in the middle of a line it takes two.
        """
        with self._writing():
            if self._input_ended or self.done.is_set():
                return
            if self.has_pty:
                self._send(_CTRL_D if self._at_line_begin else 2 * _CTRL_D)
            self._input_ended = True
            self.connection.call(self.channel.send_eof)

    @property
    def input_ended(self) -> bool:
        """Whether EOF has been sent."""
        return self._input_ended

    def _writing(self) -> BoundedSemaphore:
        """One writer at a time: what two of them write must not mix."""
        if self._input_lock is None:
            self._input_lock = BoundedSemaphore(1)
        return self._input_lock

    def _check_input(self) -> None:
        host, port = self.connection.host, self.connection.port
        if self._input_ended:
            reason = "its standard input has been closed"
        elif self.done.is_set():
            reason = "it has finished"
        else:
            return
        raise SessionError(
            "Cannot write to the command on host %s:%s: %s",
            host,
            port,
            reason,
            host=host,
            port=port,
        )

    # Ending it

    def send_signal(self, name: str) -> None:
        """Ask the server to deliver a signal (RFC 4254 section 6.9).

        :param name: its name, with or without ``SIG``.
        """
        if not self.done.is_set():
            self.connection.call(self.channel.request_signal, name.removeprefix("SIG"))

    def resize(self, columns: int, rows: int) -> None:
        """Tell the command's pseudo terminal its new size (RFC 4254 section 6.7).

        :raises InvalidAPIUseError: when it has none.
        """
        if not self.has_pty:
            raise InvalidAPIUseError(
                "The command on host %s:%s has no terminal to resize: start it with use_pty=True",
                self.connection.host,
                self.connection.port,
                host=self.connection.host,
                port=self.connection.port,
            )
        if not self.done.is_set():
            self.connection.call(self.channel.request_window_change, columns, rows)

    def close(self) -> None:
        """Close the channel. What the command was started with a pty on ends with it."""
        if self.done.is_set():
            return
        self.closed_here = True
        # The reader waits for the server's answer to this.
        with contextlib.suppress(PSSHError):
            self.connection.attempt(self.channel.close)
        self.connection.wake()

    def abort(self, error: BaseException) -> None:
        """Close the channel because of an error of ours, which is what the streams end with.

        :param error: the error.
        """
        self.cut_short(error)
        self.close()

    def cut_short(self, error: BaseException) -> None:
        """However it ends from now on, this is why: its streams end with it.

        :param error: why.
        """
        self._aborted = error

    def give_up(self) -> None:
        """Do not wait for the server any more, which does not answer."""
        if self._aborted is not None and self._reader is not None:
            gevent.get_hub().loop.run_callback(self._throw, self._aborted)

    def _throw(self, error: BaseException) -> None:
        """Runs in the loop."""
        if self._reader is not None:
            self._reader.throw(error)

    # Waiting for it

    @property
    def finished(self) -> bool:
        """Whether it has ended, and whoever follows it has had its last line."""
        return self.done.is_set() and (self.follower is None or self.follower.over.is_set())

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is :attr:`finished`.

        :param seconds: for so long at most.
        :returns: whether it is.
        :raises InvalidAPIUseError: when it is who follows it that waits.
        """
        if self.follower is None:
            return bool(self.done.wait(seconds))
        self.follower.refuse_to_wait()
        with gevent.Timeout(seconds, False):
            self.done.wait()
            self.follower.over.wait()
        return self.finished

    def on_done(self, callback: Callable[[Any], None]) -> None:
        """Have something called in the loop when the command has finished."""
        if self.follower is None:
            self.done.rawlink(callback)
        else:
            gevent.spawn(self.wait).rawlink(callback)


def _signal_number(name: str) -> int:
    """Return the number that a signal has here; its name is what the server sent."""
    try:
        return int(signal.Signals[f"SIG{name.split('@')[0]}"])
    except KeyError:
        return 0xFF
