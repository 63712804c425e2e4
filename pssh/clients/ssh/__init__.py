"""The clients on libssh, through ssh-python: certificates and Kerberos as well."""

from pssh.clients.ssh.parallel import ParallelSSHClient
from pssh.clients.ssh.single import SSHClient

__all__ = ["ParallelSSHClient", "SSHClient"]
