"""The native clients under their 1.x name."""

import warnings

from pssh.clients import ParallelSSHClient, SSHClient

warnings.warn(
    f"{__name__} is the 1.x name of pssh.clients: import the clients from there",
    DeprecationWarning,
    stacklevel=2,
)

__all__ = ["ParallelSSHClient", "SSHClient"]
