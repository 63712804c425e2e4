"""Servers that are reached through others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.gate import Gate
from tests.servers.openssh import OpenSSHServer
from tests.servers.server import Server


def logins(server: Server) -> int:
    """How many connections a server has let in."""
    return server.log().count("Accepted ")


@dataclass
class Fleet:
    """A target that this process cannot connect to, and the bastions that can.

    :ivar target: the target itself.
    :ivar gate: the only way to it.
    :ivar bastion: the outer bastion.
    :ivar inner: another one.
    :ivar known_hosts: a file with the keys of all of them.
    """

    target: OpenSSHServer
    gate: Gate
    bastion: OpenSSHServer
    inner: OpenSSHServer
    known_hosts: Path

    def know(self, *others: tuple[Server, int]) -> None:
        """Write down the keys of all servers.

        :param others: further servers, each with the port that it is reached at.
        """
        servers: Sequence[tuple[Server, int]] = (
            (self.target, self.gate.port),
            (self.bastion, self.bastion.port),
            (self.inner, self.inner.port),
            *others,
        )
        self.known_hosts.write_text("".join(s.known_hosts_text(port) for s, port in servers))

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What leads to the target through the bastion, with strict host keys."""
        return {
            "port": self.gate.port,
            "known_hosts": str(self.known_hosts),
            "host_key_policy": "strict",
            "proxy_host": self.bastion.host,
            "proxy_port": self.bastion.port,
            **changes,
        }

    def jump(self, *servers: Server) -> str:
        """What ``proxy_jump`` is to be for a way through some servers."""
        return ",".join(f"{server.host}:{server.port}" for server in servers)
