"""The client for many hosts on libssh2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.native.single import SSHClient


class ParallelSSHClient(BaseParallelSSHClient):
    """Runs commands on many hosts, on libssh2. See :class:`BaseParallelSSHClient`."""

    _POSITIONAL: ClassVar[Sequence[str]] = (
        "user",
        "password",
        "port",
        "pkey",
        "num_retries",
        "timeout",
        "pool_size",
        "allow_agent",
        "host_config",
        "retry_delay",
        "proxy_host",
        "proxy_port",
        "proxy_user",
        "proxy_password",
        "proxy_pkey",
        "forward_ssh_agent",
        "keepalive_seconds",
        "identity_auth",
        "ipv6_only",
        "compress",
        "keyboard_interactive",
    )

    _CLIENT: ClassVar[type[BaseSSHClient]] = SSHClient
