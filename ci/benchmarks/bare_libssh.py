"""The smallest loop over libssh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ssh import options
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import EOF
from ssh.key import import_privkey_base64
from ssh.session import SSH_AUTH_AGAIN, Session

from benchmarks.bare_worker import PIECE, READ, WRITE, Waiter, connected
from pssh.clients.base import algorithms

#: The same as our client's: the limit is for the same work.
CIPHERS = ",".join(algorithms.ciphers())


class Connection:
    """A connection that has authenticated."""

    def __init__(self, host: str, port: int, user: str, key: bytes) -> None:
        self._sock = connected(host, port)
        self._session = session = Session()
        session.options_set_int_val(options.PROCESS_CONFIG, 0)
        session.options_set(options.USER, user)
        session.options_set(options.HOST, host)
        for option in (options.CIPHERS_C_S, options.CIPHERS_S_C):
            session.options_set(option, CIPHERS)
        session.set_socket(self._sock)
        session.set_blocking(0)
        self._waiter = Waiter(self._sock, self._directions)
        self._until_done(session.connect)
        # libssh makes the socket block again.
        self._sock.setblocking(False)
        session.set_blocking(0)
        private = import_privkey_base64(key)
        self._until_done(session.userauth_publickey, private)

    def run(self, command: str) -> tuple[bytes, int]:
        """Run a command; its output and its exit status."""
        channel = self._start(command)
        data = b"".join(self._read(channel))
        return data, self._status(channel)

    def output(self, command: str) -> Iterator[bytes]:
        """Run a command; its output in pieces."""
        return self._read(self._start(command))

    def feed(self, command: str, pieces: Iterator[bytes]) -> int:
        """Run a command and send it bytes; its exit status."""
        channel = self._start(command)
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                _, written = channel.write(bytes(rest))
                rest = rest[max(written, 0) :]
                # What libssh has not sent yet it keeps, however much that is.
                while self._session.blocking_flush(0) == SSH_AGAIN:
                    self._waiter.wait()
                if rest and written <= 0:
                    self._waiter.wait()
                    channel.poll_timeout(0)  # takes note of an opened window
        channel.send_eof()
        list(self._read(channel))
        return self._status(channel)

    def _status(self, channel: Any) -> int:
        while (status := channel.get_exit_status()) < 0:
            self._waiter.wait()
        channel.close()
        return int(status)

    def _start(self, command: str) -> Any:
        channel = self._session.channel_new()
        channel.set_blocking(0)
        self._until_done(channel.open_session)
        self._until_done(channel.request_exec, command)
        return channel

    def _read(self, channel: Any) -> Iterator[bytes]:
        while True:
            try:
                size, data = channel.read_nonblocking(PIECE)
            except EOF:
                return
            if size > 0:
                yield data
            elif channel.is_eof():
                return
            else:
                self._waiter.wait()

    def _directions(self) -> int:
        # libssh asks to be told of a socket that it can write to even when it has nothing to send.
        unsent = self._session.blocking_flush(0) == SSH_AGAIN
        return READ | WRITE if unsent else READ

    def _until_done(self, call: Callable[..., Any], *arguments: Any) -> Any:
        while (result := call(*arguments)) in (SSH_AGAIN, SSH_AUTH_AGAIN):
            self._waiter.wait()
        return result
