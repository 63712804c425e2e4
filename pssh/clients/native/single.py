"""The client for one host on libssh2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pssh.clients.base import algorithms
from pssh.clients.base.seam import Algorithms, Session
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.native.preferences import supported_algorithms
from pssh.clients.native.session import NativeSession

_LIBSSH = "libssh2 cannot do that; the client pssh.clients.ssh can"


_HOST_KEYS = tuple(
    algorithms.choose(None, algorithms.HOST_KEYS, supported_algorithms("host_key_algorithms"))
)


class SSHClient(BaseSSHClient):
    """A connection to one host, on libssh2. See :class:`BaseSSHClient` for its use."""

    _POSITIONAL: ClassVar[Sequence[str]] = (
        "user",
        "password",
        "port",
        "pkey",
        "alias",
        "num_retries",
        "retry_delay",
        "allow_agent",
        "timeout",
        "forward_ssh_agent",
        "proxy_host",
        "proxy_port",
        "proxy_pkey",
        "proxy_user",
        "proxy_password",
        "_auth_thread_pool",
        "keepalive_seconds",
        "identity_auth",
        "ipv6_only",
        "compress",
        "keyboard_interactive",
    )

    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        "gssapi_auth": _LIBSSH,
        "gssapi_server_identity": _LIBSSH,
        "gssapi_client_identity": _LIBSSH,
        "gssapi_delegate_credentials": _LIBSSH,
    }

    @classmethod
    def _new_session(cls, host: str, port: int, algorithms: Algorithms) -> Session:
        return NativeSession(host, port, algorithms)

    @classmethod
    def supported_algorithms(cls, setting: str) -> Sequence[str]:
        """Return the names that libssh2 knows for a setting such as ``"ciphers"``."""
        return supported_algorithms(setting)

    @classmethod
    def _offered_host_keys(cls) -> Sequence[str]:
        return _HOST_KEYS
