"""Switches for the library's loggers, and helpers of 1.x.

Nothing is logged until one of the switches is used.
"""

from __future__ import annotations

import logging
import os
from typing import IO

logger = logging.getLogger("pssh")
"""What the library does."""

host_logger = logging.getLogger("pssh.host_logger")
"""What the hosts print, a line each, under ``join(consume_output=True)``."""

# Host output is not a diagnostic of the library: it must not come twice when both are enabled.
host_logger.propagate = False
logger.addHandler(logging.NullHandler())
host_logger.addHandler(logging.NullHandler())


def enable_logger(_logger: logging.Logger, level: int = logging.INFO) -> None:
    """Print what a logger has to say on standard error.

    :param _logger: the logger to enable, for instance :data:`pssh.utils.logger`.
    :param level: the lowest level to print.
    """
    _logger.setLevel(level)
    if any(type(handler) is logging.StreamHandler for handler in _logger.handlers):
        _logger.warning("Logger %s is enabled already", _logger.name)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.addHandler(handler)


def enable_host_logger() -> None:
    """Print the hosts' output, ``[host]<tab>line``, under ``join(consume_output=True)``."""
    enable_logger(host_logger)


def enable_debug_logger() -> None:
    """Print everything that the library does on standard error."""
    enable_logger(logger, level=logging.DEBUG)


def load_private_key(_pkey: str | os.PathLike[str] | IO[str] | IO[bytes]) -> bytes:
    """Read a private key for ``pkey=``, or for :meth:`pssh.agent.SSHAgent.add_key`.

    Scripts of 1.x have it. It is not needed: both take the path as well.

    :param _pkey: the path of a private key file, or an open one.
    :returns: the key, which is checked as far as that goes without its passphrase.
    :raises PKeyFileError: when the file is missing or unreadable, or is no private key.
    """
    # Not at the top: what this module is there for, the loggers, everybody imports.
    from pssh import private_key

    if isinstance(_pkey, str | os.PathLike):
        return private_key.load(_pkey).data
    content = _pkey.read()
    data = content.encode() if isinstance(content, str) else content
    return private_key.parse(data, str(getattr(_pkey, "name", "in the open file"))).data
