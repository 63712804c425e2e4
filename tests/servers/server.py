"""What our real SSH servers have in common."""

from __future__ import annotations

import abc
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.servers.keys import known_hosts_lines
from tests.servers.process import ServerProcess, ServerStartError, free_port
from tests.servers.process_tree import kill_trees, wait_until_gone

START_ATTEMPTS = 5

Self = TypeVar("Self", bound="Server")


class Server(abc.ABC):
    """An SSH server in a child process, on a loopback port; a context manager.

    Attributes: ``host``, ``port``, ``user`` and ``password`` to log in with, ``known_hosts`` (a
    file that has its host keys), ``host_key_lines`` (each as ``<type> <base64>``).
    """

    host = "127.0.0.1"
    #: All the addresses that it listens on.
    hosts: tuple[str, ...] = (host,)

    def __init__(self, folder: Path, name: str, user: str, password: str | None) -> None:
        self.folder = folder.absolute()
        self.log_path = self.folder / f"{name}.log"
        self.known_hosts = self.folder / "known_hosts"
        self.user = user
        self.password = password
        self.port = 0
        self.host_key_lines: list[str] = []
        self._process: ServerProcess | None = None

    @abc.abstractmethod
    def _launch(self, port: int) -> ServerProcess:
        """Start the child, which is to listen on the port."""

    @property
    def pid(self) -> int:
        """The child's process."""
        assert self._process is not None, "the server was stopped"
        return self._process.pid

    def log(self) -> str:
        """What it has logged since it was created, restarts included."""
        return self.log_path.read_text(errors="replace")

    def known_hosts_text(self, port: int) -> str:
        """known_hosts lines with its host keys for another port, such as a proxy's."""
        addresses = [(host, port) for host in ("127.0.0.1", "localhost", "::1")]
        return known_hosts_lines(addresses, self.host_key_lines)

    def stop(self) -> None:
        """End it, its connections and their commands."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port."""
        self.stop()
        self._start(self.port)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_on_a_free_port(self) -> None:
        for _ in range(START_ATTEMPTS):
            port = free_port(*self.hosts)
            try:
                self._start(port)
            except ServerStartError as error:
                # Between our asking for a free port and its listening, others may take it.
                if "Address already in use" not in str(error):
                    raise
                continue
            self.port = port
            self.known_hosts.write_text(self.known_hosts_text(port))
            return
        raise ServerStartError(f"The server found its port taken {START_ATTEMPTS} times.")

    def _start(self, port: int) -> None:
        process = self._launch(port)
        try:
            process.wait_until_listening(port, *self.hosts)
        except BaseException:
            process.stop()
            raise
        self._process = process


class ForkingServer(Server):
    """A server that serves each connection in a process of its own."""

    def connections(self) -> list[int]:
        """The processes that serve its live connections, one each."""
        return [] if self._process is None else self._process.children()

    def kill_connections(self) -> None:
        """SIGKILL all that serves a connection, commands included: cut in the middle."""
        wait_until_gone(kill_trees(self.connections()))
