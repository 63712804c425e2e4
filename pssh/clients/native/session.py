"""libssh2's session behind the seam."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import weakref
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

from ssh2 import session as ssh2_session
from ssh2.error_codes import (
    LIBSSH2_ERROR_AUTHENTICATION_FAILED,
    LIBSSH2_ERROR_EAGAIN,
    LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED,
)
from ssh2.exceptions import (
    AuthenticationError as RawAuthenticationError,
)
from ssh2.exceptions import (
    BannerRecvError,
    BannerSendError,
    KexFailureError,
    PublickeyUnverifiedError,
    SocketDisconnectError,
    SSH2Error,
)

from pssh import agent_protocol
from pssh.clients.base import algorithms
from pssh.clients.base.gone import Gone, gone
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.seam import (
    READ,
    WOULD_BLOCK,
    WRITE,
    Algorithms,
    AuthResult,
    Channel,
    Destination,
    PrivateKey,
    Session,
    Signer,
    WouldBlock,
    channel_closed,
    connection_closed,
)
from pssh.clients.native import libssh2
from pssh.clients.native.agent_channels import AgentChannels
from pssh.clients.native.channel import NativeChannel
from pssh.clients.native.direct_tcpip import DirectTCPIP
from pssh.clients.native.errors import TRANSPORT_ERRORS, describe, error_for_code, translate
from pssh.clients.native.kexinit_guard import KexInitGuard
from pssh.exceptions import ConnectionLostError, PKeyFileError, PSSHError, SSHError

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel

# The seam's directions are libssh2's own, so that they need no translation at each call.
assert (READ, WRITE) == (
    ssh2_session.LIBSSH2_SESSION_BLOCK_INBOUND,
    ssh2_session.LIBSSH2_SESSION_BLOCK_OUTBOUND,
)

#: Not key exchange methods but signs that we understand an extension (RFC 8308, and the answer
#: to CVE-2023-48795). libssh2 puts them first in whatever list it is given.
_KEX_EXTENSIONS = ("ext-info-c", "kex-strict-c-v00@openssh.com")

_FEW_CHANNELS = 8

#: What libssh2 says of keys that it cannot read or decrypt, where that needs another word.
_UNREADABLE_KEYS = {"Callback returned error": "libssh2 cannot read it"}

_METHODS = {
    "kex_algorithms": ssh2_session.LIBSSH2_METHOD_KEX,
    "host_key_algorithms": ssh2_session.LIBSSH2_METHOD_HOSTKEY,
    "ciphers": ssh2_session.LIBSSH2_METHOD_CRYPT_CS,
    "macs": ssh2_session.LIBSSH2_METHOD_MAC_CS,
}


@cache
def supported_algorithms(setting: str) -> tuple[str, ...]:
    """Return the names that libssh2 knows for a setting such as ``"ciphers"``."""
    if setting == "public_key_algorithms":
        return algorithms.KNOWN[setting]
    names = ssh2_session.Session().supported_algs(_METHODS[setting])
    return tuple(name for name in names if name not in _KEX_EXTENSIONS)


@lru_cache(maxsize=256)
def _preferences(offered: Algorithms) -> list[tuple[object, str]]:
    """Return libssh2's methods with the names to offer for each, comma separated."""

    def names(setting: str, asked: Sequence[str] | None, preferred: Sequence[str]) -> str:
        return ",".join(algorithms.choose(asked, preferred, supported_algorithms(setting)))

    kex = names("kex_algorithms", offered.kex, algorithms.KEX)
    # libssh2 decrypts AES-GCM 16 bytes at a call: 400 MB took 2.6 s of processor time, and 1.7 s
    # in counter mode; but 1.0 s and 1.2 s where AES is done in 512 bit registers.
    preferred = algorithms.ciphers(few_bytes_at_a_time=True)
    ciphers = names("ciphers", offered.ciphers, preferred)
    macs = names("macs", offered.macs, algorithms.MACS)
    host_keys = names("host_key_algorithms", offered.host_keys, algorithms.HOST_KEYS)
    preferences = [
        (ssh2_session.LIBSSH2_METHOD_KEX, kex),
        (ssh2_session.LIBSSH2_METHOD_HOSTKEY, host_keys),
        (ssh2_session.LIBSSH2_METHOD_CRYPT_CS, ciphers),
        (ssh2_session.LIBSSH2_METHOD_CRYPT_SC, ciphers),
        (ssh2_session.LIBSSH2_METHOD_MAC_CS, macs),
        (ssh2_session.LIBSSH2_METHOD_MAC_SC, macs),
    ]
    if offered.compress:
        compression = ",".join(algorithms.COMPRESSION)
        preferences.append((ssh2_session.LIBSSH2_METHOD_COMP_CS, compression))
        preferences.append((ssh2_session.LIBSSH2_METHOD_COMP_SC, compression))
    return preferences


class NativeSession(Session):
    """A session of libssh2.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = (
        "_agent_channels",
        "_callback",
        "_channels",
        "_channels_many",
        "_direct",
        "_guard",
        "_opening",
        "_public_keys",
        "_raw",
        "_silence",
        "_sock",
        "closed_channel",
        "host",
        "port",
    )

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        self.host = host
        self.port = port
        #: Takes the place of the library's channels that have been released.
        self.closed_channel: Any = gone(partial(channel_closed, host, port))
        #: libssh2's session; raises when it has been disconnected.
        self._raw = ssh2_session.Session()
        self._sock: socket.socket | None = None
        self._channels: list[weakref.ref[NativeChannel]] = []
        #: At so many it is time to forget those that are gone.
        self._channels_many = _FEW_CHANNELS
        self._public_keys = offered.public_keys
        self._agent_channels: AgentChannels | None = None
        self._callback: object = None
        #: Whether a session channel is being opened.
        self._opening = False
        self._direct: DirectTCPIP | None = None
        self._guard: KexInitGuard | None = None
        self._silence: socket.socket | None = None
        self._raw.set_blocking(False)
        # One question each time that it is asked for: the pace is the caller's (2 seconds is
        # the shortest that libssh2 takes).
        self._raw.keepalive_config(True, 2)
        self._offer(offered)

    def _offer(self, offered: Algorithms) -> None:
        if offered.compress:
            self._raw.flag(ssh2_session.LIBSSH2_FLAG_COMPRESS, True)
        for method, names in _preferences(offered):
            self._raw.method_pref(method, names)

    # Errors

    def error(self, error: Exception, doing: str) -> PSSHError:
        """Make one of our errors of one of libssh2's."""
        return translate(self._raw, error, self.host, self.port, doing)

    def lost(self, error: Exception) -> ConnectionLostError:
        """Make the error for a transport that stopped, whatever libssh2 calls it."""
        translated = self.error(error, "")
        if isinstance(translated, ConnectionLostError):
            return translated
        return ConnectionLostError(
            "The connection to host %s:%s was lost: %s",
            self.host,
            self.port,
            describe(self._raw, error),
            host=self.host,
            port=self.port,
        )

    # Transport

    def handshake(self, sock: socket.socket) -> WouldBlock | None:
        if self._sock is None:
            self._sock = sock
            self._guard = KexInitGuard(self._raw, sock.fileno(), _KEX_EXTENSIONS)
        try:
            code = self._raw.handshake(sock)
        except SSH2Error as ex:
            raise self._handshake_error(ex) from ex
        if self._guard is not None and self._guard.passed:
            self._drop_guard()
        if code == LIBSSH2_ERROR_EAGAIN:
            return WOULD_BLOCK
        if self._public_keys is not None:
            libssh2.prefer_signatures(self._raw, algorithms.plain(self._public_keys))
        return None

    def _drop_guard(self) -> None:
        if self._guard is not None:
            self._guard.remove()
            self._guard = None

    def _handshake_error(self, error: SSH2Error) -> PSSHError:
        if self._guard is not None and self._guard.named:
            return SSHError(
                "Could not agree on keys with host %s:%s: as methods of key exchange it names "
                "%s, which only clients do; perhaps it sends back what it is sent",
                self.host,
                self.port,
                ", ".join(self._guard.named),
                host=self.host,
                port=self.port,
            )
        # Of whatever goes wrong in the exchange libssh2 keeps the code, and one text for all.
        reason = f"{describe(self._raw, error)} ({type(error).__name__})"
        if isinstance(error, BannerRecvError | BannerSendError):
            message = "Host %s:%s is not an SSH server, or closed the connection: %s"
            return ConnectionLostError(
                message, self.host, self.port, reason, host=self.host, port=self.port
            )
        if isinstance(error, KexFailureError):
            return SSHError(
                "No common algorithm with host %s:%s (key exchange, host key, cipher or "
                "MAC; settings kex_algorithms, host_key_algorithms, ciphers, macs): %s",
                self.host,
                self.port,
                reason,
                host=self.host,
                port=self.port,
            )
        # A plain -1 is what comes of an end in the middle of the lists of algorithms.
        if type(error) is SSH2Error or isinstance(error, TRANSPORT_ERRORS) or self._hung_up():
            return self.lost(SocketDisconnectError())
        return SSHError(
            "Could not agree on keys with host %s:%s: %s",
            self.host,
            self.port,
            reason,
            host=self.host,
            port=self.port,
        )

    def _hung_up(self) -> bool:
        assert self._sock is not None
        try:
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def host_key(self) -> tuple[str, bytes]:
        try:
            blob, _ = self._raw.hostkey()
        except SSH2Error as ex:
            raise self.error(ex, "read the host key") from ex
        length = int.from_bytes(blob[:4], "big")
        return blob[4 : 4 + length].decode("ascii", "replace"), blob

    def server_version(self) -> str:
        return libssh2.server_version(self._raw)

    def send_keepalive(self) -> None:
        try:
            self._raw.keepalive_send()
        except SSH2Error as ex:
            raise self.lost(ex) from ex

    def directions(self) -> int:
        return self._raw.block_directions()  # type: ignore[no-any-return]

    # Authentication

    def auth_methods(self, user: str) -> tuple[str, ...] | WouldBlock:
        try:
            methods = self._raw.userauth_list(user)
        except SSH2Error as ex:
            raise self.error(ex, "ask for the authentication methods") from ex
        if methods:
            return tuple(methods)
        if self._raw.userauth_authenticated():
            return ()
        code = self._raw.last_errno()
        if code == LIBSSH2_ERROR_EAGAIN:
            return WOULD_BLOCK
        raise self.lost(error_for_code(code) or SSH2Error())

    def auth_private_key(self, user: str, key: PrivateKey) -> AuthResult | WouldBlock:
        try:
            code = self._raw.userauth_publickey_frommemory(
                user, key.data, key.passphrase, key.certificate or key.public
            )
        except SSH2Error as ex:
            return self._refused(ex, key)
        return self._accepted(code)

    def auth_signer(self, user: str, signer: Signer) -> AuthResult | WouldBlock:
        # libssh2 keeps no reference to the callback, and may call it again until it is done.
        self._callback = libssh2.SIGN_CALLBACK(_sign_function(signer))
        code = libssh2.userauth_publickey(self._raw, user, signer.blob, self._callback)
        if code is None:
            return AuthResult.FAILURE
        error = error_for_code(code)
        if error is not None:
            return self._refused(error)
        return self._accepted(code)

    def auth_password(self, user: str, password: str) -> AuthResult | WouldBlock:
        try:
            code = self._raw.userauth_password(user, password)
        except SSH2Error as ex:
            return self._refused(ex)
        return self._accepted(code)

    def auth_keyboard_interactive(
        self, user: str, answer: Callable[[str], str]
    ) -> AuthResult | WouldBlock:
        def answers(_name: bytes, _instruction: bytes, prompts: list[str | bytes]) -> list[bytes]:
            return [answer(_text(prompt)).encode() for prompt in prompts]

        try:
            code = self._raw.userauth_keyboardinteractive_callback(user, answers)
        except SSH2Error as ex:
            return self._refused(ex)
        return self._accepted(code)

    def _accepted(self, code: int) -> AuthResult | WouldBlock:
        return WOULD_BLOCK if code == LIBSSH2_ERROR_EAGAIN else AuthResult.SUCCESS

    def _refused(self, error: Exception, key: PrivateKey | None = None) -> AuthResult:
        if isinstance(error, TRANSPORT_ERRORS):
            raise self.lost(error) from error
        code = self._raw.last_errno()
        if isinstance(error, PublickeyUnverifiedError):
            if "Waiting" in describe(self._raw, error):
                raise self.lost(SocketDisconnectError()) from error
            if "Invalid signature" in describe(self._raw, error):
                # The server accepted the key and then not the signature: with a right
                # signature that means that it wants another method too.
                return AuthResult.MAYBE_PARTIAL
            if key is not None:
                raise self._unusable_key(error, key) from error
            return AuthResult.FAILURE
        if isinstance(error, RawAuthenticationError) or code in (
            LIBSSH2_ERROR_AUTHENTICATION_FAILED,
            LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED,
        ):
            return AuthResult.FAILURE
        if key is not None:
            raise self._unusable_key(error, key) from error
        raise self.error(error, "authenticate") from error

    def _unusable_key(self, error: Exception, key: PrivateKey) -> PKeyFileError:
        reason = describe(self._raw, error)
        return PKeyFileError(
            "The private key %s cannot be used for host %s: %s (is it a private key, and is "
            "password its passphrase?)",
            key.name,
            self.host,
            _UNREADABLE_KEYS.get(reason, reason),
            host=self.host,
            port=self.port,
        )

    # Channels

    def open_session(self) -> Channel | WouldBlock:
        if self._direct is not None and self._direct.in_turn:
            return WOULD_BLOCK
        raw_session = self._raw
        try:
            if self._direct is None:
                raw = raw_session.open_session()
            else:
                raw = self._direct.among_others(raw_session.open_session)
        except SSH2Error as ex:
            raise self.error(ex, "open a session") from ex
        self._opening = raw == LIBSSH2_ERROR_EAGAIN
        return WOULD_BLOCK if self._opening else self._new_channel(raw)

    def open_direct_tcpip(self, destination: Destination) -> Channel | WouldBlock:
        if self._direct is None:
            self._direct = DirectTCPIP(self._raw)
        if not self._direct.may_open(destination, other_begun=self._opening):
            return WOULD_BLOCK
        try:
            raw = self._direct.open(destination)
        except SSH2Error as ex:
            raise self.error(ex, f"open a tunnel to {destination.host}:{destination.port}") from ex
        return WOULD_BLOCK if raw is None else self._new_channel(raw)

    @property
    def opens_in_turn(self) -> bool:  # type: ignore[override]
        """Whether a channel can only be opened when the one before has been."""
        return not libssh2.opening_is_found()

    def _new_channel(self, raw: RawChannel) -> NativeChannel:
        channel = NativeChannel(self, raw)
        if len(self._channels) >= self._channels_many:
            self._channels = [ref for ref in self._channels if ref() is not None]
            self._channels_many = 2 * len(self._channels) + _FEW_CHANNELS
        self._channels.append(weakref.ref(channel))
        return channel

    def take_agent_channels(self, opened: Callable[[], None]) -> None:
        if self._agent_channels is None:
            self._agent_channels = AgentChannels(self._raw, opened)

    def next_agent_channel(self) -> Channel | None:
        raw = self._agent_channels.take() if self._agent_channels is not None else None
        return self._new_channel(raw) if raw is not None else None

    # The end

    def silence_socket(self) -> None:
        """After a loss: let the library read what it has, and nothing from the network.

        libssh2 asks the socket before it hands out what it has queued, and a socket that is
        at its end makes it keep that back.
        """
        if self._silence is not None or self._sock is None:
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        os.dup2(ours.fileno(), self._sock.fileno(), inheritable=False)
        ours.close()
        # The other end stays open: without it reads would find an end here too.
        self._silence = theirs

    def disconnect(self) -> None:
        if isinstance(self._raw, Gone):
            return
        self._drop_guard()
        with contextlib.suppress(SSH2Error):
            self._raw.disconnect()
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        if self._direct is not None:
            self._direct.forget()
            self._direct = None
        if self._agent_channels is not None:
            self._agent_channels.forget()
            self._agent_channels = None
        # libssh2 tries to send when it frees channels, also those whose opening has only
        # begun. All of it goes now, while the descriptor is still ours: later it may belong
        # to somebody else's connection.
        for ref in self._channels:
            channel = ref()
            if channel is not None:
                channel.release()
        self._channels.clear()
        self._raw = gone(partial(connection_closed, self.host, self.port))
        self._callback = None
        if self._silence is not None:
            self._silence.close()


def _sign_function(signer: Signer) -> Callable[..., int]:
    """Make the C callback that has a signer sign."""

    def sign(
        _session: int,
        signature: object,
        signature_length: object,
        data: int,
        data_length: int,
        _abstract: int,
    ) -> int:
        try:
            made = signer.sign(ctypes.string_at(data, data_length))
            if made is WOULD_BLOCK:
                return int(LIBSSH2_ERROR_EAGAIN)
            if made is None:
                return int(LIBSSH2_ERROR_AUTHENTICATION_FAILED)
            value = agent_protocol.signature_value(made)
            signature[0] = libssh2.allocate(value)  # type: ignore[index]
            signature_length[0] = len(value)  # type: ignore[index]
        except BaseException as ex:  # noqa: BLE001 (none can pass through C)
            if isinstance(ex, KeyboardInterrupt):
                pass_on(ex)
            return int(LIBSSH2_ERROR_AUTHENTICATION_FAILED)
        return 0

    return sign


def _text(prompt: str | bytes) -> str:
    return prompt.decode("utf-8", "replace") if isinstance(prompt, bytes) else prompt
