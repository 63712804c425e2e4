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


def read_openssh_config(
    host: str, config_file: str | os.PathLike[str] | None = None
) -> tuple[str, str | None, int, bytes | None]:
    """Look a host up in OpenSSH's client configuration, for scripts of 1.x.

    The setting ``ssh_config`` makes a client do that by itself, and of many more options.
    Commands of ``Match exec`` are waited for.

    :param host: the host as the configuration knows it.
    :param config_file: the path of the one file that counts; default is ``~/.ssh/config`` and
        then the system's, where they exist.
    :returns: the real name or address, the user name or ``None``, the port, and the first
        private key of ``IdentityFile`` that can be read, for ``pkey=``, or ``None``.
    :raises SSHConfigError: when the configuration is wrong.
    """
    # Not at the top: what this module is there for, the loggers, everybody imports.
    from pssh import private_key
    from pssh.constants import DEFAULT_PORT
    from pssh.exceptions import PKeyFileError
    from pssh.ssh_config import files, shell, values
    from pssh.ssh_config.resolve import resolve

    resolved = resolve(files.load(config_file), host, shell.succeeds)
    found = values.settings(resolved)
    key = None
    for path in found.identity_files or ():
        try:
            key = private_key.load(path).data
        except PKeyFileError as ex:
            logger.debug("An identity file of host %s is left out: %s", host, ex)
        else:
            break
    return resolved.hostname, found.user, found.port or DEFAULT_PORT, key
