"""Switches for the library's loggers. Nothing is logged until one of them is used."""

from __future__ import annotations

import logging

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
