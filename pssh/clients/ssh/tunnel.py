"""Local ports that lead to other hosts, through clients of libssh (or of any other library)."""

from pssh.clients.base.local_forwarder import LocalForwarder, TunnelServer
from pssh.clients.base.tunnel import Tunnel

__all__ = ["LocalForwarder", "Tunnel", "TunnelServer"]
