"""The native clients: libssh2, through ssh2-python."""

from pssh.clients.native.parallel import ParallelSSHClient
from pssh.clients.native.single import SSHClient

__all__ = ["ParallelSSHClient", "SSHClient"]
