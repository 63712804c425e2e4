"""How the tests of connecting reach a server, and what they watch it and the library for."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.contract.outputs import eventually
from tests.servers.server import Server


def access(server: Server, **settings: Any) -> dict[str, Any]:
    """A client's settings for one attempt at a server, without keys, agent or password.

    :param settings: what is added or replaced.
    """
    return {
        "port": server.port,
        "user": server.user,
        "known_hosts": str(server.known_hosts),
        "num_retries": 1,
        "allow_agent": False,
        "identity_auth": False,
        **settings,
    }


def wait_for_log(server: Server, pattern: str, since: int = 0, count: int = 1) -> str:
    """Wait until a server has logged something, and return all that it has logged.

    :param pattern: a regular expression, matched within lines.
    :param since: how much of the log to leave out, in characters.
    :param count: how often it must have been logged.
    """
    eventually(
        lambda: len(re.findall(pattern, server.log()[since:])) >= count,
        f"{pattern!r} in the log of the server",
    )
    return server.log()[since:]


@contextlib.contextmanager
def said_by_the_library(text: str, then: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as the library's logger is given a certain message.

    :param text: a part of the message.
    :param then: what to do; more than once if the message comes more than once.
    """

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                then()

    logger, handler = logging.getLogger("pssh"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
