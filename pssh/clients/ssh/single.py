"""The client for one host on libssh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pssh.clients.base import algorithms
from pssh.clients.base.seam import Algorithms, Session
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.ssh.preferences import supported_algorithms
from pssh.clients.ssh.session import LibsshSession

_HOST_KEYS = tuple(
    algorithms.choose(None, algorithms.HOST_KEYS, supported_algorithms("host_key_algorithms"))
)


class SSHClient(BaseSSHClient):
    """A connection to one host, on libssh. See :class:`BaseSSHClient` for its use."""

    _POSITIONAL: ClassVar[Sequence[str]] = (
        "user",
        "password",
        "port",
        "pkey",
        "alias",
        "cert_file",
        "num_retries",
        "retry_delay",
        "allow_agent",
        "timeout",
        "identity_auth",
        "gssapi_auth",
        "gssapi_server_identity",
        "gssapi_client_identity",
        "gssapi_delegate_credentials",
        "ipv6_only",
        "compress",
        "_auth_thread_pool",
    )

    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def _new_session(cls, host: str, port: int, algorithms: Algorithms) -> Session:
        return LibsshSession(host, port, algorithms)

    @classmethod
    def supported_algorithms(cls, setting: str) -> Sequence[str]:
        """Return the names that libssh knows for a setting such as ``"ciphers"``."""
        return supported_algorithms(setting)

    @classmethod
    def _offered_host_keys(cls) -> Sequence[str]:
        return _HOST_KEYS
