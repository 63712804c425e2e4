"""Agents for the contract tests: a real one, and ones that misbehave."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.servers.process import ServerProcess, find_program
from tests.servers.process_tree import wait_until

Self = TypeVar("Self", bound="FakeAgent")


class SSHAgent(ServerProcess):
    """``ssh-agent`` on a socket of its own; a context manager.

    :param folder: an existing folder; its path must be short (a socket's has 107 characters).

    Attribute: ``path``, for ``SSH_AUTH_SOCK``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent"
        super().__init__(
            [find_program("ssh-agent", "openssh-client"), "-D", "-a", str(self.path)],
            folder / "ssh-agent.log",
            environment={"PATH": "/usr/bin:/bin"},
        )
        try:
            wait_until(self._listens, "the socket of ssh-agent")
        except BaseException:
            self.stop()
            raise

    def _listens(self) -> bool:
        # The socket has its name a moment before somebody listens.
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def add(self, *keys: Path, confirm: bool = False) -> None:
        """Give it keys.

        :param confirm: have it ask before each signature. There is nobody whom it could ask, so
            that it refuses to sign.
        """
        subprocess.run(
            [
                find_program("ssh-add", "openssh-client"),
                *("-q", *(["-c"] if confirm else [])),
                *(str(key) for key in keys),
            ],
            env={**os.environ, "SSH_AUTH_SOCK": str(self.path)},
            stdin=subprocess.DEVNULL,
            check=True,
        )


class FakeAgent:
    """A listening unix socket, served by a thread; a context manager.

    What it does with a connection is up to :meth:`talk`; the connection stays open afterwards
    unless that closes it. Attributes: ``path``, for ``SSH_AUTH_SOCK``; ``accepted``: how many
    connections it has had.

    :param folder: an existing folder with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent"
        self.accepted = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(100)
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def talk(self, connection: socket.socket) -> None:
        """What it does with a connection: nothing."""

    def stop(self) -> None:
        """Close the socket and all connections."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the accept of the thread
        self._thread.join(10)
        for each in (*self._open, self._listening):
            each.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.accepted += 1
                self._open.append(connection)
                with contextlib.suppress(OSError):
                    self.talk(connection)


class MuteAgent(FakeAgent):
    """Accepts, and never answers anything."""


class HangingUpAgent(FakeAgent):
    """Hangs up as soon as it has been asked something."""

    def talk(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.close()


class NonsenseAgent(FakeAgent):
    """Answers every question with SSH_AGENT_SUCCESS, which is no list of keys."""

    def talk(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\0\0\0\1\6")


class NeverSigningAgent(FakeAgent):
    """Lists a public key, and never answers the request to sign with it.

    :param public_key: a key's public half, RFC 4253 section 6.6.
    """

    def __init__(self, folder: Path, public_key: bytes) -> None:
        self._public_key = public_key
        self.asked_to_sign = threading.Event()
        super().__init__(folder)

    def talk(self, connection: socket.socket) -> None:
        request = connection.recv(65536)
        if request[4] == 11:  # SSH_AGENTC_REQUEST_IDENTITIES
            answer = b"\x0c\0\0\0\1" + _string(self._public_key) + _string(b"never signs")
            connection.sendall(_string(answer))
        else:
            self.asked_to_sign.set()


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
