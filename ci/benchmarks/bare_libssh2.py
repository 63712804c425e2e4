"""The smallest loop over libssh2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.session import (
    LIBSSH2_METHOD_CRYPT_CS,
    LIBSSH2_METHOD_CRYPT_SC,
    LIBSSH2_METHOD_MAC_CS,
    LIBSSH2_METHOD_MAC_SC,
    Session,
)

from benchmarks.bare_worker import PIECE, Waiter, connected
from pssh.clients.base import algorithms

#: The same as our client's: the limit is for the same work.
CIPHERS = ",".join(algorithms.ciphers(few_bytes_at_a_time=True))
MACS = ",".join(algorithms.MACS)
PREFERENCES = {
    LIBSSH2_METHOD_CRYPT_CS: CIPHERS,
    LIBSSH2_METHOD_CRYPT_SC: CIPHERS,
    LIBSSH2_METHOD_MAC_CS: MACS,
    LIBSSH2_METHOD_MAC_SC: MACS,
}


class Connection:
    """A connection that has authenticated."""

    def __init__(self, host: str, port: int, user: str, key: bytes) -> None:
        self._sock = connected(host, port)
        self._session = session = Session()
        session.set_blocking(False)
        for method, names in PREFERENCES.items():
            session.method_pref(method, names)
        self._waiter = Waiter(self._sock, session.block_directions)
        self._until_done(session.handshake, self._sock)
        self._until_done(session.userauth_publickey_frommemory, user, key)

    def run(self, command: str) -> tuple[bytes, int]:
        """Run a command; its output and its exit status."""
        channel = self._start(command)
        data = b"".join(self._read(channel))
        self._until_done(channel.close)
        self._until_done(channel.wait_closed)
        return data, channel.get_exit_status()

    def output(self, command: str) -> Iterator[bytes]:
        """Run a command; its output in pieces."""
        return self._read(self._start(command))

    def feed(self, command: str, pieces: Iterator[bytes]) -> int:
        """Run a command and send it bytes; its exit status."""
        channel = self._start(command)
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                code, written = channel.write(bytes(rest))
                rest = rest[written:]
                if rest and code == LIBSSH2_ERROR_EAGAIN and not written:
                    self._waiter.wait()
        self._until_done(channel.send_eof)
        list(self._read(channel))
        self._until_done(channel.close)
        self._until_done(channel.wait_closed)
        return int(channel.get_exit_status())

    def _start(self, command: str) -> Any:
        channel = self._until_done(self._session.open_session)
        self._until_done(channel.execute, command)
        return channel

    def _read(self, channel: Any) -> Iterator[bytes]:
        while True:
            size, data = channel.read(PIECE)
            if size > 0:
                yield data
            elif size == LIBSSH2_ERROR_EAGAIN:
                self._waiter.wait()
            else:
                return

    def _until_done(self, call: Callable[..., Any], *arguments: Any) -> Any:
        while (result := call(*arguments)) == LIBSSH2_ERROR_EAGAIN:
            self._waiter.wait()
        return result
