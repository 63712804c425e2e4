"""The client for many hosts on libssh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.ssh.single import SSHClient


class ParallelSSHClient(BaseParallelSSHClient):
    """Runs commands on many hosts, on libssh. See :class:`BaseParallelSSHClient`."""

    _POSITIONAL: ClassVar[Sequence[str]] = (
        "user",
        "password",
        "port",
        "pkey",
        "cert_file",
        "num_retries",
        "timeout",
        "pool_size",
        "allow_agent",
        "host_config",
        "retry_delay",
        "forward_ssh_agent",
        "gssapi_auth",
        "gssapi_server_identity",
        "gssapi_client_identity",
        "gssapi_delegate_credentials",
        "identity_auth",
        "ipv6_only",
        "compress",
    )

    _CLIENT: ClassVar[type[BaseSSHClient]] = SSHClient
