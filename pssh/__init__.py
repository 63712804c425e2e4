"""Parallel SSH clients: run commands on many hosts at once.

Importing this package changes nothing in the process; see
:mod:`pssh.clients` for the clients.
"""

from pssh._version import __version__

__all__ = ["__version__"]
