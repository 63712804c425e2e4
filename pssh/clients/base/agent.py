"""An SSH agent that keeps private keys (ssh-agent(1)), without ever blocking the loop."""

from __future__ import annotations

import os

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original

from pssh import agent_protocol
from pssh.agent_protocol import AgentProtocolError, Identity
from pssh.clients.base.connection import Connection
from pssh.clients.base.seam import WOULD_BLOCK, WouldBlock
from pssh.utils import logger

# The real one, also when the program has made the standard library cooperative.
_socket = get_original("socket", "socket")

#: Agents serve few connections at a time, and have a limit on how many may wait.
_CONNECTIONS_MAX = 8


class Agent:
    """A client of the agent that ``SSH_AUTH_SOCK`` names.

    :param path: the agent's socket.
    """

    __slots__ = ("_slots", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._slots = BoundedSemaphore(_CONNECTIONS_MAX)

    @classmethod
    def from_environment(cls) -> Agent | None:
        """Return the user's agent, ``None`` when there is none."""
        path = os.environ.get("SSH_AUTH_SOCK")
        return cls(path) if path else None

    def identities(self) -> list[Identity]:
        """Ask for the keys.

        :raises OSError: when the agent is not there or hangs up.
        :raises AgentProtocolError: when it answers nonsense.
        """
        return agent_protocol.parse_identities(self._ask(agent_protocol.identities_request()))

    def sign(self, blob: bytes, data: bytes) -> bytes | None:
        """Ask for a signature.

        :param blob: the public key.
        :param data: what to sign.
        :returns: the signature without its algorithm, ``None`` when the agent refuses.
        :raises OSError: when the agent is not there or hangs up.
        :raises AgentProtocolError: when it answers nonsense.
        """
        return agent_protocol.parse_signature(self._ask(agent_protocol.sign_request(blob, data)))

    def _ask(self, request: bytes) -> bytes:
        with self._slots, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(self.path)
            sock.sendall(request)
            return receive_packet(sock)

    def dial(self) -> socket.socket:
        """Return a connected, non-blocking socket for whoever speaks to the agent himself.

        :raises OSError: when the agent is not there.
        """
        with self._slots, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(self.path)
            return _socket(fileno=sock.detach())


def receive_packet(sock: socket.socket) -> bytes:
    """Receive a packet, and return it without its length.

    :raises OSError: when the other end hangs up.
    :raises AgentProtocolError: when the packet is too long.
    """
    length = int.from_bytes(_receive(sock, 4), "big")
    if length > agent_protocol.MAX_REPLY:
        raise AgentProtocolError("the packet is too long")
    return _receive(sock, length)


def _receive(sock: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(count)
        if not part:
            raise ConnectionResetError("the agent hung up")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class AgentSigner:
    """Has the agent sign for a session, which asks again until the signature is there.

    :param agent: the agent.
    :param identity: the key.
    :param connection: the connection to wake when the signature is there.
    :param certificate: a certificate for the key, to be shown in its place.
    """

    __slots__ = ("_agent", "_connection", "_greenlet", "_key", "blob")

    def __init__(
        self,
        agent: Agent,
        identity: Identity,
        connection: Connection,
        certificate: bytes | None = None,
    ) -> None:
        self._agent = agent
        self._connection = connection
        self._greenlet: gevent.Greenlet | None = None
        self._key = identity.blob
        self.blob = certificate or identity.blob

    def sign(self, data: bytes) -> bytes | WouldBlock | None:
        """Return the signature, ``None`` when the agent refuses."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._sign, data)
            self._greenlet.rawlink(lambda _: self._connection.wake())
        if not self._greenlet.ready():
            return WOULD_BLOCK
        signature: bytes | None = self._greenlet.value
        return signature

    def _sign(self, data: bytes) -> bytes | None:
        try:
            return self._agent.sign(self._key, data)
        except (OSError, AgentProtocolError) as ex:
            logger.warning("The agent at %s did not sign: %s", self._agent.path, ex)
            return None

    def cancel(self) -> None:
        """Nobody waits for the signature any more."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
