"""An agent's key for libssh, without libssh ever waiting for an agent.

libssh talks to an agent itself, and waits for it. So what it talks to is a socket pair whose
other end has the answers ready: that there is one key, and then the signature. For a
signature one has to know what is to be signed: the first time libssh is refused it, which
gives away what it asked for and sends nothing to the server. The agent signs that at its
leisure, and the second time the signature is there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from gevent.monkey import get_original

from pssh import agent_protocol
from pssh.agent_protocol import Identity
from pssh.clients.base.seam import WOULD_BLOCK, AuthResult, Signer, WouldBlock
from pssh.clients.ssh import libssh
from pssh.exceptions import ConnectionLostError, SSHError

_socketpair = get_original("socket", "socketpair")

Attempt = Callable[[], AuthResult | WouldBlock]


class AgentDialogue:
    """One attempt to authenticate with a key that a signer holds.

    :param session: the ``ssh_session``.
    :param signer: signs for the key.
    """

    __slots__ = ("_asked", "_ends", "_session", "_signature", "signer")

    def __init__(self, session: int, signer: Signer) -> None:
        self._session = session
        self.signer = signer
        self._asked: bytes | None = None
        self._signature: bytes | None = None
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def attempt(self, authenticate: Attempt) -> AuthResult | WouldBlock:
        """Get as far as is possible at once.

        :param authenticate: has libssh authenticate with the agent's key.
        """
        if self._asked is None:
            result = self._ask_what_to_sign(authenticate)
            if result is not None:
                return result
        if self._signature is None:
            assert self._asked is not None
            made = self.signer.sign(self._asked)
            if made is WOULD_BLOCK:
                return WOULD_BLOCK
            if made is None:
                return AuthResult.FAILURE
            self._signature = made
        return self._finished(self._with_agent(authenticate))

    def _ask_what_to_sign(self, authenticate: Attempt) -> AuthResult | WouldBlock | None:
        """Offer the key; when the server would take it, find out what is to be signed."""
        try:
            return self._finished(self._with_agent(authenticate))
        except ConnectionLostError:
            self._hang_up()
            raise
        except SSHError:
            # That is how libssh takes being refused a signature.
            asked = self._requested()
            self._hang_up()
            if not asked:
                raise
            self._asked = asked[0]
            return None

    def _with_agent(self, authenticate: Attempt) -> AuthResult | WouldBlock:
        if self._ends is None:
            ours, theirs = self._ends = _socketpair()
            identity = Identity(self.signer.blob, "")
            ours.sendall(agent_protocol.identities_answer(identity))
            ours.sendall(agent_protocol.signature_answer(self._signature))
            # Whatever else libssh may ask: it finds an end, rather than waiting.
            ours.shutdown(socket.SHUT_WR)
            libssh.set_agent_socket(self._session, theirs.fileno())
        return authenticate()

    def _finished(self, result: AuthResult | WouldBlock) -> AuthResult | WouldBlock:
        if result is not WOULD_BLOCK:
            self._hang_up()
        return result

    def _requested(self) -> list[bytes]:
        assert self._ends is not None
        ours = self._ends[0]
        ours.setblocking(False)
        try:
            return agent_protocol.requested_signatures(ours.recv(agent_protocol.MAX_REPLY))
        except BlockingIOError:
            return []

    def _hang_up(self) -> None:
        if self._ends is None:
            return
        # libssh would close the descriptor by its number, later.
        libssh.set_agent_socket(self._session, -1)
        for end in self._ends:
            end.close()
        self._ends = None
