"""libssh's methods of authentication (RFC 4252)."""

from __future__ import annotations

from collections.abc import Callable

from ssh import options
from ssh import session as ssh_session
from ssh.exceptions import AuthenticationDenied, AuthenticationPartial, BaseSSHError
from ssh.key import SSHKey
from ssh.session import SSH_AUTH_AGAIN, SSH_AUTH_INFO

from pssh.clients.base.seam import (
    GSSAPI,
    PASSWORD_EXPIRED,
    WOULD_BLOCK,
    Algorithms,
    AuthResult,
    MethodFailed,
    PrivateKey,
    Signer,
    WouldBlock,
)
from pssh.clients.ssh import keys, libssh
from pssh.clients.ssh.agent import AgentDialogue
from pssh.clients.ssh.transport import LibsshTransport
from pssh.exceptions import ConnectionLostError, PKeyFileError, SSHError

#: libssh's bits for the methods that a server offers (SSH_AUTH_METHOD_… in libssh.h).
_METHODS = {
    0x04: "publickey",
    0x20: "gssapi-with-mic",
    0x02: "password",
    0x10: "keyboard-interactive",
    0x08: "hostbased",
}

#: What libssh says of SSH_MSG_USERAUTH_PASSWD_CHANGEREQ, and of a number that means something else
#: for other methods.
_CHANGE_REQUEST = "rejected packet (type 60)"

#: What libssh logs when it has credentials, and none that is valid for a moment longer.
_NO_VALID_TICKET = "Sending 0 oids"
#: What it logs of each token, good or bad.
_NO_ERROR = "GSSAPI(accepting token)"


class LibsshAuthentication(LibsshTransport):
    """Logs in, by what is shown to the server.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = ("_agent", "_kerberos_log", "_key", "_queried", "_user")

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        super().__init__(host, port, offered)
        self._user = ""
        self._key: tuple[PrivateKey, keys.LoadedKey] | None = None
        self._queried: tuple[PrivateKey, SSHKey] | None = None
        self._agent: AgentDialogue | None = None
        self._kerberos_log: list[str] = []

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
        if code == SSH_AUTH_AGAIN:
            # It goes on waiting also for what it has thrown away, because it does not know it.
            self.check()
            return WOULD_BLOCK
        return AuthResult.SUCCESS

    def auth_methods(self, user: str) -> tuple[str, ...] | WouldBlock:
        """Try the method ``none``, once, which has the server name them, or let the user in."""
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
        """Of an encrypted key ask first whether it would do: to decrypt it takes long."""
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
        """libssh speaks to agents alone: the signer is put in an agent's place for the call."""
        raw = self._as_user(user)
        if self._agent is None or self._agent.signer is not signer:
            self._agent = AgentDialogue(self._pointer, signer)
        result = self._agent.attempt(lambda: self._result(raw.userauth_agent, user))
        if result is not WOULD_BLOCK:
            self._agent = None
        return result

    def auth_password(self, user: str, password: str) -> AuthResult | WouldBlock:
        try:
            return self._result(self._as_user(user).userauth_password, user, password)
        except ConnectionLostError as ex:
            if _CHANGE_REQUEST in str(ex):
                raise MethodFailed(PASSWORD_EXPIRED) from ex
            raise

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
                self.check()
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
