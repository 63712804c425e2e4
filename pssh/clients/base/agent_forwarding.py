"""The user's agent, for programs on a host that ask for it there (``ssh -A``).

The server opens a channel for each of them (draft-ietf-sshm-ssh-agent, section 5.2). What stands at
the other end of it is the system's agent, or an agent of the program's own.
"""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable
from typing import Protocol

import gevent

from pssh.clients.base import pumps
from pssh.clients.base.connection import Connection
from pssh.clients.base.seam import Channel
from pssh.exceptions import PSSHError
from pssh.utils import logger


class ForwardedAgent(Protocol):
    """An agent that can be reached as often as is wanted."""

    def dial(self) -> socket.socket:
        """Return a connected, non-blocking socket to it.

        :raises OSError: when it is not there.
        """


class AgentForwarding:
    """Serves the channels that a server opens to the agent, on one connection.

    :param connection: a connection that is ready for use.
    :param agent: the agent.
    :raises InvalidAPIUseError: where the build of the library is not known.
    """

    __slots__ = ("__weakref__", "_agent", "_asked_in_vain", "_granted", "connection")

    def __init__(self, connection: Connection, agent: ForwardedAgent) -> None:
        self.connection = connection
        self._agent = agent
        self._granted = False
        self._asked_in_vain = False
        connection.session.take_agent_channels(_notifier(self))

    def request(self, channel: Channel) -> None:
        """Ask the server to offer the agent to what will run on a channel.

        Some servers do so for all channels from then on, and refuse to be asked again.
        """
        if self._asked_in_vain:
            return
        try:
            self.connection.call(channel.request_agent_forwarding)
            self._granted = True
        except PSSHError as ex:
            if not self.connection.alive:
                raise
            self._asked_in_vain = True
            if not self._granted:
                logger.warning("%s. Commands run without it", ex)

    def take(self) -> None:
        """Runs in the loop: serve the channels that the server has opened."""
        gevent.spawn(self._serve_all)

    def _serve_all(self) -> None:
        connection = self.connection
        while connection.alive:
            channel = connection.session.next_agent_channel()
            if channel is None:
                return
            gevent.spawn(self._serve, channel)

    def _serve(self, channel: Channel) -> None:
        connection = self.connection
        try:
            sock = self._agent.dial()
        except OSError as ex:
            logger.warning("The agent cannot be forwarded to host %s: %s", connection.host, ex)
            self._refuse(channel)
            return
        if connection.alive:
            pumps.start(connection, channel, sock)
        else:
            sock.close()
            connection.release(channel)

    def _refuse(self, channel: Channel) -> None:
        try:
            self.connection.call(channel.close)
        except PSSHError as ex:
            logger.debug("Closing a channel to the agent failed: %s", ex)
        finally:
            self.connection.release(channel)


def _notifier(forwarding: AgentForwarding) -> Callable[[], None]:
    """Return what is called inside the library when it has a channel, which is taken later."""
    loop = gevent.get_hub().loop
    # The library is no reason to keep a connection that nobody else has.
    reference = weakref.ref(forwarding)

    def opened() -> None:
        found = reference()
        if found is not None:
            loop.run_callback(found.take)

    return opened
