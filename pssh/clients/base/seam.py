"""The seam: what a protocol library has to offer. Everything above is written once.

No method here waits. Where the network has to do something first, a method returns
:data:`WOULD_BLOCK`, and is called again with the same objects as arguments when the socket is
ready in the direction that :meth:`Session.directions` names. Errors of a library become ours in
the implementation, and nowhere else.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Protocol

from pssh.exceptions import ConnectionLostError, SessionError

if TYPE_CHECKING:
    import socket


class _WouldBlock(enum.Enum):
    WOULD_BLOCK = enum.auto()


WOULD_BLOCK: Final = _WouldBlock.WOULD_BLOCK
WouldBlock = Literal[_WouldBlock.WOULD_BLOCK]

STDOUT: Final = 0
STDERR: Final = 1
"""SSH_EXTENDED_DATA_STDERR (RFC 4254 section 5.2)."""

READ: Final = 1
WRITE: Final = 2


class AuthResult(enum.Enum):
    """What a server says of an attempt to authenticate (RFC 4252 section 5.1)."""

    SUCCESS = enum.auto()
    FAILURE = enum.auto()
    #: The method was accepted as far as can be told, and the server wants another one too.
    MAYBE_PARTIAL = enum.auto()


class ExitStatus(NamedTuple):
    """How a command ended (RFC 4254 section 6.10); both unset: the server did not say."""

    status: int | None = None
    #: Without the ``SIG`` prefix.
    signal: str | None = None


NOT_SAID: Final = ExitStatus()


@lru_cache
def exited(status: int) -> ExitStatus:
    """Return how a command ended that ended by itself.

    :param status: its exit status.
    """
    return ExitStatus(status=status)


class Algorithms(NamedTuple):
    """Names to offer, best first; ``None`` is what the implementation prefers."""

    ciphers: tuple[str, ...] | None = None
    macs: tuple[str, ...] | None = None
    kex: tuple[str, ...] | None = None
    host_keys: tuple[str, ...] | None = None
    #: With which RSA keys may sign; which keys are shown at all is decided above the seam.
    public_keys: tuple[str, ...] | None = None
    compress: bool = False


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key that the library signs with.

    ``public`` is its public half, as in a ``.pub`` file, where that is known without
    decrypting: a server that refuses the key is then found out without the cost.
    ``certificate`` is one for this key, as in a ``-cert.pub`` file, to be shown in its place.
    ``name`` is what messages call it.
    """

    data: bytes = field(repr=False)
    passphrase: str = field(repr=False)
    encrypted: bool
    public: bytes | None = None
    certificate: bytes | None = None
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class GSSAPI:
    """How to authenticate with Kerberos (RFC 4462 section 3).

    ``server_identity`` is the host that the service's principal names, ``client_identity``
    the user's principal; ``None`` for the principal of the default credentials.
    """

    server_identity: str
    client_identity: str | None = None
    delegate_credentials: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """Where a direct-tcpip channel leads, and for whom (RFC 4254 section 7.2).

    The object itself, rather than what is in it, tells one opening from another.

    :ivar host: a name or an address, as the server sees it.
    :ivar port: a port there.
    :ivar origin_host: the address of whoever wants to go there, for the server's log.
    :ivar origin_port: its port.
    """

    host: str
    port: int
    origin_host: str = "127.0.0.1"
    origin_port: int = 0


class MethodFailed(Exception):
    """A method could not be carried through, for a reason on this side. The next one may be."""


#: Why a password fails where the server sends SSH_MSG_USERAUTH_PASSWD_CHANGEREQ (RFC 4252 section
#: 8): somebody has to choose a new one.
PASSWORD_EXPIRED: Final = "it has expired, and the server asks for a new one"


class Signer(Protocol):
    """Signs with a key that somebody else holds, such as an agent."""

    blob: bytes

    def sign(self, data: bytes) -> bytes | WouldBlock | None:
        """Return the signature (RFC 4253 section 6.6), ``None`` when refused."""


class Channel(ABC):
    """A channel of a session (RFC 4254 section 5).

    A request fails when the server refuses it, and also when it closes the channel and leaves
    the request without an answer.

    :ivar owner: weakly, what runs on the channel; ``None`` while nothing does.
    """

    __slots__ = ("__weakref__", "owner")

    owner: Callable[[], Any] | None

    def __init__(self) -> None:
        self.owner = None

    @abstractmethod
    def request_exec(self, command: bytes) -> WouldBlock | None:
        """Start a command.

        :raises SessionError: when the server refuses.
        """

    @abstractmethod
    def request_shell(self) -> WouldBlock | None:
        """Start the user's login shell (RFC 4254 section 6.5).

        :raises SessionError: when the server refuses.
        """

    @abstractmethod
    def request_subsystem(self, name: str) -> WouldBlock | None:
        """Start a subsystem, such as ``"sftp"`` (RFC 4254 section 6.5).

        :raises SessionError: when the server refuses.
        """

    @abstractmethod
    def request_environment(self, name: str, value: str) -> WouldBlock | None:
        """Set an environment variable.

        :raises SessionError: when the server refuses.
        """

    @abstractmethod
    def request_pty(self, term: str, columns: int, rows: int) -> WouldBlock | None:
        """Ask for a pseudo terminal.

        :raises SessionError: when the server refuses.
        """

    @abstractmethod
    def request_window_change(self, columns: int, rows: int) -> WouldBlock | None:
        """Tell the pseudo terminal's new size (RFC 4254 section 6.7). There is no answer."""

    @abstractmethod
    def request_agent_forwarding(self) -> WouldBlock | None:
        """Have the server offer the user's agent to what will run on the channel.

        Only after :meth:`Session.take_agent_channels`.

        :raises SessionError: when the server refuses, as far as the library lets it say so.
        """

    @abstractmethod
    def request_signal(self, name: str) -> WouldBlock | None:
        """Deliver a signal (named without ``SIG``) to the command. There is no answer."""

    @abstractmethod
    def read(self, stream: int, size: int) -> bytes | WouldBlock:
        """Return up to so many bytes of a stream; ``b""`` at its end."""

    def read_pieces(self, stream: int, size: int) -> Sequence[bytes] | WouldBlock:
        """Return the next bytes of a stream, in the pieces in which they are; none at its end.

        For who does not mind where they are cut: joining them costs a copy.

        :param size: how many bytes are wanted; as many more as have come already may be in it.
        """
        data = self.read(stream, size)
        if data is WOULD_BLOCK:
            return WOULD_BLOCK
        return (data,) if data else ()

    @abstractmethod
    def has_arrived(self, stream: int | None = None) -> bool:
        """Whether a read may give something, without asking the network.

        :param stream: of which stream; ``None`` for any. (A library that does not tell them apart
            answers for any.)
        """

    @abstractmethod
    def read_arrived(self, stream: int, size: int) -> bytes:
        """Return what had arrived before the connection was lost, without the network."""

    @abstractmethod
    def write(self, data: bytes | memoryview) -> int | WouldBlock:
        """Send what the window allows of the data and return how many bytes that was."""

    @abstractmethod
    def send_eof(self) -> WouldBlock | None:
        """Say that nothing more will be written."""

    @abstractmethod
    def at_eof(self) -> bool:
        """Whether the server has sent EOF and everything before it has been read."""

    @abstractmethod
    def wait_closed(self) -> WouldBlock | None:
        """Return once the server has closed the channel. Only after :meth:`at_eof`."""

    @abstractmethod
    def exit_status(self) -> ExitStatus:
        """How the command ended, as far as the server has said."""

    @abstractmethod
    def close(self) -> WouldBlock | None:
        """Close this side of the channel."""

    @abstractmethod
    def release(self) -> None:
        """Give back what the library holds. Nothing else may be called afterwards."""


def as_bytes(data: bytes | memoryview) -> bytes:
    """Return data as the libraries take it, without a copy where it is all of an object's bytes."""
    if isinstance(data, memoryview):
        whole = data.obj
        # One that goes backwards is as long.
        if isinstance(whole, bytes) and len(whole) == len(data) and data.c_contiguous:
            return whole
    return bytes(data)


def channel_closed(host: str, port: int) -> SessionError:
    """Make the error for whatever is asked of a channel that has been given back."""
    return SessionError("The channel to host %s has been closed", host, host=host, port=port)


def connection_closed(host: str, port: int) -> ConnectionLostError:
    """Make the error for whatever is asked of a session that has been disconnected."""
    return ConnectionLostError(
        "The connection to host %s:%s has been closed by this client",
        host,
        port,
        host=host,
        port=port,
    )


def unanswered(host: str, port: int) -> SessionError:
    """Make the error for a request whose channel was closed before it was answered."""
    return SessionError(
        "Host %s:%s closed the channel instead of answering a request",
        host,
        port,
        host=host,
        port=port,
    )


class Session(ABC):
    """An SSH connection over a socket: transport and authentication (RFC 4253, RFC 4252)."""

    __slots__ = ("__weakref__",)

    #: Whether the library keeps what the socket does not take, and sends it by and by. Without
    #: that a packet that is partly sent has to be finished, by calling again, before any other
    #: call.
    keeps_unsent: ClassVar[bool] = False

    @abstractmethod
    def handshake(self, sock: socket.socket) -> WouldBlock | None:
        """Exchange versions and keys over a connected, non-blocking socket."""

    @abstractmethod
    def host_key(self) -> tuple[str, bytes]:
        """The type and the blob of the server's host key. After the handshake."""

    def server_version(self) -> str:
        """How the server names itself, such as ``SSH-2.0-OpenSSH_9.2`` (RFC 4253 section 4.2).

        Empty where the library does not tell. After the handshake.
        """
        return ""

    @abstractmethod
    def auth_methods(self, user: str) -> tuple[str, ...] | WouldBlock:
        """Ask which methods may continue; empty when the user is authenticated already."""

    @abstractmethod
    def auth_private_key(self, user: str, key: PrivateKey) -> AuthResult | WouldBlock:
        """Try a private key.

        :raises PKeyFileError: when the key cannot be used: not a key, or a wrong passphrase.
        """

    @abstractmethod
    def auth_signer(self, user: str, signer: Signer) -> AuthResult | WouldBlock:
        """Try a key that a signer holds."""

    @abstractmethod
    def auth_password(self, user: str, password: str) -> AuthResult | WouldBlock:
        """Try a password.

        :raises MethodFailed: when it has expired, where the library tells that from a refusal.
        """

    @abstractmethod
    def auth_keyboard_interactive(
        self, user: str, answer: Callable[[str], str]
    ) -> AuthResult | WouldBlock:
        """Try keyboard-interactive (RFC 4256); ``answer`` maps each prompt to its answer."""

    def auth_gssapi(self, user: str, gssapi: GSSAPI) -> AuthResult | WouldBlock:
        """Try Kerberos. In a thread: it asks name servers and key servers, and waits.

        :raises MethodFailed: when there is no ticket, or none can be had.
        """
        raise MethodFailed("the library cannot do that")

    @abstractmethod
    def open_session(self) -> Channel | WouldBlock:
        """Open a session channel. One at a time: a call continues the one that has begun."""

    @abstractmethod
    def open_direct_tcpip(self, destination: Destination) -> Channel | WouldBlock:
        """Have the server connect to somewhere, and open a channel to there.

        Several may be on their way at the same time, each with a destination object of its
        own, as the server may take long for one that it cannot reach. One that was begun has
        to be called until it ends.

        :raises SessionError: when the server refuses, or cannot connect.
        """

    #: Whether channels can only be opened one after the other: what begins one then waits, and
    #: has to be woken when the one before has ended.
    opens_in_turn: bool = False

    @abstractmethod
    def take_agent_channels(self, opened: Callable[[], None]) -> None:
        """From now on take the channels that the server opens to the user's agent.

        Until then, a server that opens one gets none.

        :param opened: called when there is one, in the middle of some other call of the
            library: it must not wait, nor call the library.
        :raises InvalidAPIUseError: where this build of the library cannot do that.
        """

    @abstractmethod
    def next_agent_channel(self) -> Channel | None:
        """Return a channel that the server has opened, ``None`` when there is none left."""

    @abstractmethod
    def send_keepalive(self) -> None:
        """Ask the server for a sign of life. Only while the socket is writable."""

    @abstractmethod
    def directions(self) -> int:
        """What the last call that would have blocked waits for: ``READ`` and/or ``WRITE``."""

    def lost_descriptor(self) -> bool:
        """Whether the library has closed the socket by itself, which then is detached."""
        return False

    @abstractmethod
    def disconnect(self) -> None:
        """Say goodbye if that is possible at once, and shut the connection down."""
