"""An agent of the program's own, for who speaks to it as to any other (see pssh.agent)."""

from __future__ import annotations

import socket

import gevent
from gevent import socket as gevent_socket
from gevent.monkey import get_original

from pssh import agent_protocol
from pssh.agent import SSHAgent
from pssh.agent_protocol import AgentProtocolError, Identity
from pssh.clients.base.agent import receive_packet
from pssh.clients.base.threads import in_thread
from pssh.utils import logger

_socketpair = get_original("socket", "socketpair")


class OwnAgent:
    """Answers as an agent does, with the keys of a :class:`pssh.agent.SSHAgent`.

    :param agent: the keys.
    """

    __slots__ = ("_agent",)

    def __init__(self, agent: SSHAgent) -> None:
        self._agent = agent

    def dial(self) -> socket.socket:
        """Return a socket at whose other end a greenlet answers."""
        ours, theirs = _socketpair()
        theirs.setblocking(False)
        gevent.spawn(self._answer_all, gevent_socket.socket(fileno=ours.detach()))
        return theirs  # type: ignore[no-any-return]

    def _answer_all(self, sock: gevent_socket.socket) -> None:
        with sock:
            try:
                while True:
                    request = receive_packet(sock)
                    # Decrypting and signing are a matter of processors.
                    sock.sendall(in_thread(self._answer, request, kind="keys"))
            except (OSError, AgentProtocolError) as ex:
                # Most of them just hang up.
                logger.debug("The agent of the program's own hangs up: %s", ex)

    def _answer(self, request: bytes) -> bytes:
        keys = self._agent.signing_keys()
        try:
            asked = agent_protocol.parse_request(request)
        except AgentProtocolError:
            return agent_protocol.FAILURE
        if asked is None:
            listed = [Identity(key.blob, key.comment) for key in keys]
            return agent_protocol.identities_answer(*listed)
        for key in keys:
            if key.blob == asked.blob:
                return agent_protocol.signature_answer(key.sign(asked.data, asked.flags))
        return agent_protocol.FAILURE
