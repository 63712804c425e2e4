"""libssh2's methods of authentication (RFC 4252)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from ssh2.error_codes import (
    LIBSSH2_ERROR_AUTHENTICATION_FAILED,
    LIBSSH2_ERROR_EAGAIN,
    LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED,
)
from ssh2.exceptions import (
    AuthenticationError as RawAuthenticationError,
)
from ssh2.exceptions import (
    PublickeyUnverifiedError,
    SocketDisconnectError,
    SSH2Error,
)

from pssh import agent_protocol
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.seam import (
    WOULD_BLOCK,
    Algorithms,
    AuthResult,
    PrivateKey,
    Signer,
    WouldBlock,
)
from pssh.clients.native import libssh2
from pssh.clients.native.errors import TRANSPORT_ERRORS, describe, error_for_code
from pssh.clients.native.transport import NativeTransport
from pssh.exceptions import PKeyFileError

#: What libssh2 says of keys that it cannot read or decrypt, where that needs another word.
_UNREADABLE_KEYS = {"Callback returned error": "libssh2 cannot read it"}


class NativeAuthentication(NativeTransport):
    """Logs in, by what is shown to the server.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = ("_callback",)

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        super().__init__(host, port, offered)
        self._callback: object = None

    def auth_methods(self, user: str) -> tuple[str, ...] | WouldBlock:
        """Try the method ``none``, which has the server name them, or let the user in."""
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
