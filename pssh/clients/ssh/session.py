"""libssh's session behind the seam."""

from __future__ import annotations

import binascii
import contextlib
import os
import re
import socket
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from itertools import repeat
from typing import Any

from ssh import options
from ssh import session as ssh_session
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import (
    AuthenticationDenied,
    AuthenticationPartial,
    BaseSSHError,
)
from ssh.key import SSHKey
from ssh.session import SSH_AUTH_AGAIN, SSH_AUTH_INFO

from pssh.clients.base import algorithms
from pssh.clients.base.arrivals import bytes_unread, is_cut
from pssh.clients.base.gone import gone
from pssh.clients.base.seam import (
    GSSAPI,
    READ,
    WOULD_BLOCK,
    WRITE,
    Algorithms,
    AuthResult,
    Channel,
    Destination,
    MethodFailed,
    PrivateKey,
    Session,
    Signer,
    WouldBlock,
    channel_closed,
    connection_closed,
)
from pssh.clients.ssh import agent_channels, errors, keys, libssh
from pssh.clients.ssh.agent import AgentDialogue
from pssh.clients.ssh.channel import LibsshChannel
from pssh.exceptions import ConnectionLostError, PKeyFileError, PSSHError, SessionError, SSHError

#: What libssh reads from a socket at once (MAX_BUF_SIZE in its priv.h).
_PIECE = 4096
#: How much of that is read before others have their turn.
_PIECES_MAX = 64

#: libssh's bits for the methods that a server offers (SSH_AUTH_METHOD_… in libssh.h).
_METHODS = {
    0x04: "publickey",
    0x20: "gssapi-with-mic",
    0x02: "password",
    0x10: "keyboard-interactive",
    0x08: "hostbased",
}

#: What libssh logs when it has credentials, and none that is valid for a moment longer.
_NO_VALID_TICKET = "Sending 0 oids"
#: What it logs of each token, good or bad.
_NO_ERROR = "GSSAPI(accepting token)"

#: What libssh reports of a channel that the server did not open: its number here, the reason's
#: code and the server's words.
_OPEN_FAILURE = re.compile(r"channel (\d+) error \((\d+)\) ?(.*)", re.DOTALL)
#: Several answers came at once, and libssh keeps the last one's.
_REASON_LOST = "the server refused it, like another at the same time"
#: RFC 4254 section 5.1.
_OPEN_FAILURES = {
    1: "administratively prohibited",
    2: "connect failed",
    3: "unknown channel type",
    4: "resource shortage",
}

_OPTIONS = {
    "kex_algorithms": (options.KEY_EXCHANGE,),
    "host_key_algorithms": (options.HOSTKEYS,),
    "ciphers": (options.CIPHERS_C_S, options.CIPHERS_S_C),
    "macs": (options.HMAC_C_S, options.HMAC_S_C),
}


@cache
def supported_algorithms(setting: str) -> tuple[str, ...]:
    """Return the names that libssh knows for a setting such as ``"ciphers"``."""
    if setting == "public_key_algorithms":
        return algorithms.KNOWN[setting]
    option = _OPTIONS[setting][0]

    def is_known(name: str) -> bool:
        try:
            ssh_session.Session().options_set(option, name)
        except BaseSSHError:
            return False
        return True

    return tuple(name for name in algorithms.KNOWN[setting] if is_known(name))


@lru_cache(maxsize=256)
def _preferences(offered: Algorithms) -> list[tuple[options.Option, str]]:
    """Return libssh's options with the names to offer for each, comma separated."""
    lists: list[tuple[str, Sequence[str] | None, Sequence[str]]] = [
        ("kex_algorithms", offered.kex, algorithms.KEX),
        ("host_key_algorithms", offered.host_keys, algorithms.HOST_KEYS),
        ("ciphers", offered.ciphers, algorithms.ciphers()),
        ("macs", offered.macs, algorithms.MACS),
    ]
    preferences = []
    for setting, asked, preferred in lists:
        names = ",".join(algorithms.choose(asked, preferred, supported_algorithms(setting)))
        preferences += [(option, names) for option in _OPTIONS[setting]]
    if offered.public_keys is not None:
        preferences.append((options.PUBLICKEY_ACCEPTED_TYPES, ",".join(offered.public_keys)))
    compression = ",".join(algorithms.COMPRESSION) if offered.compress else "none"
    preferences += [
        (options.COMPRESSION_C_S, compression),
        (options.COMPRESSION_S_C, compression),
    ]
    return preferences


class LibsshSession(Session):
    """A session of libssh.

    The socket belongs to libssh from the handshake on: it closes it when it cannot send, and
    when its session is freed. Our own object for it is detached then, so that nobody uses a
    descriptor that may be somebody else's.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = (
        "_agent",
        "_agent_channels",
        "_agent_opened",
        "_channels",
        "_forwards",
        "_kerberos_log",
        "_key",
        "_much",
        "_offered",
        "_opened",
        "_opening",
        "_pointer",
        "_queried",
        "_raw",
        "_sock",
        "_unsent",
        "_user",
        "closed_channel",
        "host",
        "port",
    )

    keeps_unsent = True

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        self.host = host
        self.port = port
        #: Takes the place of the library's channels that have been released.
        self.closed_channel: Any = gone(partial(channel_closed, host, port))
        self._offered = offered
        self._opened: ssh_session.Session | None = None
        #: The same; raises when there is none.
        self._raw: ssh_session.Session = gone(partial(connection_closed, self.host, self.port))
        self._pointer = 0
        self._sock: socket.socket | None = None
        self._unsent = False
        self._much = False
        self._user = ""
        self._key: tuple[PrivateKey, keys.LoadedKey] | None = None
        self._queried: tuple[PrivateKey, SSHKey] | None = None
        self._agent: AgentDialogue | None = None
        #: Channels that the server has opened to the agent, and what is told of each.
        self._agent_channels: deque[LibsshChannel] = deque()
        self._agent_opened: Callable[[], None] | None = None
        self._kerberos_log: list[str] = []
        self._opening: ssh_session.Channel | None = None
        #: Channels to elsewhere that are being opened.
        self._forwards: dict[Destination, tuple[ssh_session.Channel, LibsshChannel]] = {}
        #: Kept until they are released: freeing one may send, and only we look what came of it.
        self._channels: set[LibsshChannel] = set()

    # Errors

    def error(self, doing: str, kind: type[PSSHError] = SSHError) -> PSSHError:
        """Make one of our errors of what libssh reported last."""
        self.lost_descriptor()
        return errors.translate(self._raw, self.host, self.port, doing, kind)

    def check(self) -> None:
        """Raise when the transport has ended.

        :raises ConnectionLostError: then.
        """
        if self._raw.get_status() & errors.ENDED:
            self.lost_descriptor()
            raise errors.lost(self._raw, self.host, self.port)

    def lost_descriptor(self) -> bool:
        """Whether libssh has closed the socket; our object for it is detached then."""
        if self._opened is None or self._opened.get_fd() >= 0:
            return False
        if self._sock is not None and self._sock.fileno() >= 0:
            self._sock.detach()
        return True

    # Transport

    def handshake(self, sock: socket.socket) -> WouldBlock | None:
        if self._opened is None:
            self._begin(sock)
        raw = self._raw
        try:
            code = raw.connect()
        except BaseSSHError as ex:
            raise self._handshake_error() from ex
        # libssh makes the socket block as soon as it is connected, and would then send to a
        # slow server for as long as that takes.
        os.set_blocking(sock.fileno(), False)
        if code == SSH_AGAIN:
            self.flush()
            return WOULD_BLOCK
        return None

    def _begin(self, sock: socket.socket) -> None:
        raw = ssh_session.Session()
        # Both clients behave alike: nothing is read from the user's OpenSSH configuration.
        raw.options_set_int_val(options.PROCESS_CONFIG, 0)
        for option in (options.SSH_DIR, options.KNOWNHOSTS, options.GLOBAL_KNOWNHOSTS):
            raw.options_set(option, os.devnull)
        raw.options_set(options.USER, "unknown")
        for option, names in _preferences(self._offered):
            raw.options_set(option, names)
        raw.set_socket(sock)
        raw.set_blocking(0)
        self._opened = self._raw = raw
        self._sock = sock
        self._pointer = libssh.session_pointer(raw)

    def _handshake_error(self) -> PSSHError:
        self.lost_descriptor()
        reason = errors.describe(self._raw)
        host, port = self.host, self.port
        if "no match for method" in reason:
            return SSHError(
                "No common algorithm with host %s:%s (settings kex_algorithms, "
                "host_key_algorithms, ciphers, macs): %s",
                host,
                port,
                reason,
                host=host,
                port=port,
            )
        if "banner" in reason.lower() or "version" in reason.lower():
            return ConnectionLostError(
                "Host %s:%s is not an SSH server, or closed the connection: %s",
                host,
                port,
                reason,
                host=host,
                port=port,
            )
        if "Socket error" in reason or "DISCONNECT" in reason or self._is_cut():
            return errors.lost(self._raw, host, port)
        return SSHError(
            "Could not agree on keys with host %s:%s: %s", host, port, reason, host=host, port=port
        )

    def _is_cut(self) -> bool:
        """Whether the socket has ended, whatever libssh says of it."""
        assert self._sock is not None
        return self._sock.fileno() < 0 or is_cut(self._sock)

    def host_key(self) -> tuple[str, bytes]:
        try:
            encoded = self._raw.get_server_publickey().export_pubkey_base64()
        except BaseSSHError as ex:
            raise self.error("read the host key") from ex
        blob = binascii.a2b_base64(encoded)
        length = int.from_bytes(blob[:4], "big")
        return blob[4 : 4 + length].decode("ascii", "replace"), blob

    def server_version(self) -> str:
        banner: bytes | None = self._raw.get_serverbanner()
        return (banner or b"").decode("utf-8", "replace")

    def exchange(self) -> None:
        """Read what has come, and send what waits to be sent, as far as that goes at once."""
        assert self._sock is not None
        libssh.exchange_packets(self._pointer)
        if self._much and not self.lost_descriptor():
            # As long as there is much, each loop of ours takes more than one of libssh's pieces.
            pieces = bytes_unread(self._sock) // _PIECE
            self._much = pieces > 0
            any(map(libssh.exchange_packets, repeat(self._pointer, min(pieces, _PIECES_MAX))))
        # What came may have asked for an answer, such as new keys.
        self.flush()

    def expect_more(self) -> None:
        """Somebody has just received a lot."""
        self._much = True

    def flush(self) -> bool:
        """Send what waits to be sent, as far as that goes at once; whether that was all."""
        try:
            self._unsent = self._raw.blocking_flush(0) == SSH_AGAIN
        except BaseSSHError:
            # Whoever reads next learns of it, after what has arrived before.
            self._unsent = False
        return not self._unsent

    def send_keepalive(self) -> None:
        # libssh waits for each answer before it asks again, and the call that takes note of
        # the answer asks nothing: the second one does.
        for _ in range(2):
            libssh.keepalive(self._pointer)
        self.flush()
        self.check()

    def directions(self) -> int:
        return READ | WRITE if self._unsent else READ

    # Authentication

    def _as_user(self, user: str) -> ssh_session.Session:
        """Name the user, which libssh keeps for most methods as an option."""
        raw = self._raw
        if user != self._user:
            raw.options_set(options.USER, user)
            self._user = user
        return raw

    def _result(self, method: Callable[..., int], *args: object) -> AuthResult | WouldBlock:
        """Call one of libssh's methods of authentication."""
        try:
            code = method(*args)
        except AuthenticationDenied:
            return AuthResult.FAILURE
        except AuthenticationPartial:
            return AuthResult.MAYBE_PARTIAL
        except BaseSSHError as ex:
            raise self.error("authenticate") from ex
        self.flush()
        return WOULD_BLOCK if code == SSH_AUTH_AGAIN else AuthResult.SUCCESS

    def auth_methods(self, user: str) -> tuple[str, ...] | WouldBlock:
        raw = self._as_user(user)
        offered = int(raw.userauth_list())
        if not offered:
            result = self._result(raw.userauth_none)
            if result is WOULD_BLOCK:
                return WOULD_BLOCK
            if result is AuthResult.SUCCESS:
                return ()
            offered = int(raw.userauth_list())
        return tuple(name for bit, name in _METHODS.items() if offered & bit)

    def auth_private_key(self, user: str, key: PrivateKey) -> AuthResult | WouldBlock:
        raw = self._as_user(user)
        if key.encrypted and key.public is not None and not self._has(key):
            result = self._query(raw, key)
            if result is not AuthResult.SUCCESS:
                return result
        if self._key is None or self._key[0] is not key:
            self._key = (key, self._load(key))
        result = self._result(raw.userauth_publickey, self._key[1].raw)
        if result is not WOULD_BLOCK:
            self._key = None
        return result

    def _has(self, key: PrivateKey) -> bool:
        # Whoever asks again does so with the same object.
        return self._key is not None and self._key[0] is key

    def _query(self, raw: ssh_session.Session, key: PrivateKey) -> AuthResult | WouldBlock:
        """Ask whether the key would do, before it is decrypted (RFC 4252 section 7)."""
        if self._queried is None or self._queried[0] is not key:
            line = key.certificate or key.public
            assert line is not None
            self._queried = (key, self._public(line, key.name))
        return self._result(raw.userauth_try_publickey, self._queried[1])

    def _public(self, line: bytes, name: str) -> SSHKey:
        try:
            return keys.public(line)
        except PKeyFileError as ex:
            raise self._unusable_key(ex, name) from ex

    def _load(self, key: PrivateKey) -> keys.LoadedKey:
        try:
            return keys.load(key)
        except PKeyFileError as ex:
            raise self._unusable_key(ex, key.name) from ex

    def _unusable_key(self, error: PKeyFileError, name: str) -> PKeyFileError:
        return PKeyFileError(
            "The private key %s cannot be used for host %s: %s",
            name,
            self.host,
            error,
            host=self.host,
            port=self.port,
        )

    def auth_signer(self, user: str, signer: Signer) -> AuthResult | WouldBlock:
        raw = self._as_user(user)
        if self._agent is None or self._agent.signer is not signer:
            self._agent = AgentDialogue(self._pointer, signer)
        result = self._agent.attempt(lambda: self._result(raw.userauth_agent, user))
        if result is not WOULD_BLOCK:
            self._agent = None
        return result

    def auth_password(self, user: str, password: str) -> AuthResult | WouldBlock:
        return self._result(self._as_user(user).userauth_password, user, password)

    def auth_keyboard_interactive(
        self, user: str, answer: Callable[[str], str]
    ) -> AuthResult | WouldBlock:
        raw = self._as_user(user)
        while True:
            try:
                code = raw.userauth_kbdint(user, "")
            except AuthenticationDenied:
                return AuthResult.FAILURE
            except AuthenticationPartial:
                return AuthResult.MAYBE_PARTIAL
            except BaseSSHError as ex:
                raise self.error("authenticate") from ex
            self.flush()
            if code == SSH_AUTH_AGAIN:
                return WOULD_BLOCK
            if code != SSH_AUTH_INFO:
                return AuthResult.SUCCESS
            for index in range(raw.userauth_kbdint_getnprompts()):
                # libssh writes to the second argument whether to echo.
                prompt = raw.userauth_kbdint_getprompt(index, bytes(8))
                text = answer(prompt.decode("utf-8", "replace"))
                raw.userauth_kbdint_setanswer(index, text.encode())

    def auth_gssapi(self, user: str, gssapi: GSSAPI) -> AuthResult | WouldBlock:
        raw = self._as_user(user)
        raw.options_set(options.GSSAPI_SERVER_IDENTITY, gssapi.server_identity)
        if gssapi.client_identity is not None:
            raw.options_set(options.GSSAPI_CLIENT_IDENTITY, gssapi.client_identity)
        raw.options_set_gssapi_delegate_credentials(gssapi.delegate_credentials)
        with libssh.log_messages(self._kerberos_log):
            try:
                result = self._result(raw.userauth_gssapi)
            except SSHError as ex:
                # Only the exchange of tokens has failed; the connection goes on.
                raise MethodFailed(self._kerberos_reason() or str(ex)) from ex
        if result is AuthResult.FAILURE:
            reason = self._kerberos_reason()
            if reason:
                raise MethodFailed(reason)
        return result

    def _kerberos_reason(self) -> str | None:
        """Return why there was nothing to show to the server, from what libssh has logged."""
        log, self._kerberos_log = self._kerberos_log, []
        if _NO_VALID_TICKET in log:
            return "the Kerberos ticket has expired"
        reasons = [
            message
            for message in log
            if message.startswith("GSSAPI(") and not message.startswith(_NO_ERROR)
        ]
        return reasons[-1] if reasons else None

    # Channels

    def open_session(self) -> Channel | WouldBlock:
        raw = self._raw
        self.check()
        try:
            if self._opening is None:
                self._opening = raw.channel_new()
            code = self._opening.open_session()
        except BaseSSHError as ex:
            self._opening = None
            raise self.error("open a session", SessionError) from ex
        self.flush()
        if code == SSH_AGAIN:
            return WOULD_BLOCK
        opened, self._opening = self._opening, None
        channel = LibsshChannel(self, opened)
        self._channels.add(channel)
        return channel

    def open_direct_tcpip(self, destination: Destination) -> Channel | WouldBlock:
        raw = self._raw
        self.check()
        to, origin = destination, destination.origin_host
        opening: ssh_session.Channel | None = None
        channel: LibsshChannel | None = None
        try:
            if to not in self._forwards:
                opening = raw.channel_new()
                # It has to be told from the start: with the answer may come what the other end
                # says first, and whoever reads both has libssh keep what it tells nobody.
                channel = LibsshChannel(self, opening)
                self._channels.add(channel)
                self._forwards[to] = opening, channel
            opening, channel = self._forwards[to]
            code = opening.open_forward(to.host, to.port, origin, to.origin_port)
        except BaseSSHError as ex:
            self._forwards.pop(to, None)
            error = self._refused_forward(to, opening)
            if channel is not None:
                channel.release()
            raise error from ex
        self.flush()
        if code == SSH_AGAIN:
            return WOULD_BLOCK
        del self._forwards[to]
        return channel

    def _refused_forward(self, to: Destination, opening: ssh_session.Channel | None) -> PSSHError:
        error = self.error(f"open a tunnel to {to.host}:{to.port}", SessionError)
        if isinstance(error, ConnectionLostError) or opening is None:
            return error
        # What libssh reported last may be about another channel.
        number = libssh.channel_number(opening, self._pointer)
        *said, reason = error.args
        found = _OPEN_FAILURE.search(reason)
        if found is not None:
            about_this = number is not None and int(found[1]) == number
            reason = _refusal(int(found[2]), found[3]) if about_this else _REASON_LOST
        return SessionError(*said, reason, host=self.host, port=self.port)

    def take_agent_channels(self, opened: Callable[[], None]) -> None:
        self._agent_opened = opened
        # The session goes when nobody has it any more, whatever libssh could call.
        reference = weakref.ref(self)

        def make() -> int:
            session = reference()
            assert session is not None
            return session._make_agent_channel()

        agent_channels.take(self._pointer, make)

    def _make_agent_channel(self) -> int:
        """Make a channel that the server opens. Runs inside libssh."""
        channel = LibsshChannel(self, self._raw.channel_new())
        self._channels.add(channel)
        self._agent_channels.append(channel)
        assert self._agent_opened is not None
        self._agent_opened()
        return channel.pointer

    def next_agent_channel(self) -> Channel | None:
        # libssh's answer to the server may wait to be sent.
        self.flush()
        return self._agent_channels.popleft() if self._agent_channels else None

    def released(self, channel: LibsshChannel) -> None:
        """A channel has been freed; libssh may have sent something then, and failed."""
        self._channels.discard(channel)
        if self._opened is not None:
            self.flush()

    # The end

    def disconnect(self) -> None:
        if self._opened is None:
            return
        sock = self._sock
        assert sock is not None
        agent_channels.forget(self._pointer)
        self._agent_channels.clear()
        for channel in list(self._channels):
            channel.release()
        self._opening = None
        self._forwards.clear()
        if not self.lost_descriptor():
            # To libssh what follows looks as if the other side had gone: it sends no more.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            # Freeing its session libssh closes the descriptor, which is no longer ours then.
            sock.detach()
        self._key = self._queried = self._agent = None
        self._opened = None
        self._raw = gone(partial(connection_closed, self.host, self.port))


def _refusal(code: int, words: str) -> str:
    reason = _OPEN_FAILURES.get(code, f"reason {code}")
    return f"{reason}: {words.strip()}" if words.strip() else reason
