"""The clients. ``ParallelSSHClient`` and ``SSHClient`` here are the native ones (libssh2).

They are imported when they are first asked for, so that somebody who has only one of the
two bindings installed can use that client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pssh.clients.native import ParallelSSHClient, SSHClient

__all__ = ["ParallelSSHClient", "SSHClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pssh.clients import native

        return getattr(native, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
