"""Which ways of authenticating are tried, in which order (RFC 4252)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pssh import private_key
from pssh.agent import AgentKey
from pssh.agent_protocol import AgentProtocolError
from pssh.certificate import Certificate
from pssh.clients.base.agent import Agent, AgentSigner
from pssh.clients.base.connection import Connection
from pssh.clients.base.seam import GSSAPI, AuthResult, MethodFailed, PrivateKey
from pssh.clients.base.threads import in_thread, outcome, pool
from pssh.exceptions import ConnectionLostError, PKeyFileError
from pssh.private_key import KeyFile
from pssh.utils import logger

GSSAPI_WITH_MIC = "gssapi-with-mic"
PUBLICKEY = "publickey"
PASSWORD = "password"
KEYBOARD_INTERACTIVE = "keyboard-interactive"


@dataclass(slots=True)
class Credentials:
    """What a user has to show, in the order in which it is tried."""

    user: str
    gssapi: GSSAPI | None = None
    certificate: Certificate | None = None
    key: KeyFile | None = None
    agent: Agent | None = None
    agent_keys: Sequence[AgentKey] = ()
    identity_files: Sequence[str] = ()
    password: str | None = field(default=None, repr=False)
    keyboard_interactive: bool = False


class Refused(Exception):
    """The server took none of it. ``str()`` says what was tried and what it answered."""

    def __init__(self, reason: str, secret_sent: bool) -> None:
        super().__init__(reason)
        #: Whether a password or an answer went to the server: it must not go there again.
        self.secret_sent = secret_sent


class Authentication:
    """One attempt to authenticate on one connection.

    :param connection: a connection whose handshake is done and whose host key is accepted.
    :param credentials: what to try.
    """

    __slots__ = (
        "_answered",
        "_connection",
        "_credentials",
        "_offered",
        "_session",
        "_tried",
        "_tried_keys",
        "_trying",
        "_user",
        "secret_sent",
    )

    def __init__(self, connection: Connection, credentials: Credentials) -> None:
        self._connection = connection
        self._credentials = credentials
        self._session = connection.session
        self._user = credentials.user
        self._offered: tuple[str, ...] = ()
        self._tried: list[str] = []
        self._tried_keys: set[bytes] = set()
        self._trying = ""
        self._answered: set[str] = set()
        self.secret_sent = False

    def run(self) -> None:
        """Authenticate.

        :raises Refused: when the server accepts nothing.
        :raises ConnectionLostError: when the connection ends before anything was tried.
        """
        try:
            if self._ask_methods() or self._try_all():
                return
        except ConnectionLostError as ex:
            if not self._tried and not self.secret_sent:
                raise
            hint = "the server closed the connection (sshd_config: MaxAuthTries?)"
            reason = "; ".join([*self._tried, f"{self._trying}: {hint}"])
            raise Refused(reason, self.secret_sent) from ex
        tried = "; ".join(self._tried) if self._tried else "there was nothing to try"
        offered = ", ".join(self._offered)
        raise Refused(f"{tried}; the server offers {offered}", self.secret_sent)

    def _try_all(self) -> bool:
        return (
            self._try_gssapi()
            or self._try_given_key()
            or self._try_agent()
            or self._try_agent_keys()
            or self._try_identity_files()
            or self._try_secrets()
        )

    def _ask_methods(self) -> bool:
        """Ask what the server offers now; true when it wants nothing more."""
        self._offered = self._connection.call(self._session.auth_methods, self._user)
        return not self._offered

    def _note(self, what: str, result: AuthResult) -> bool:
        """Keep what was tried for the error message; true when the server let us in."""
        if result is AuthResult.SUCCESS:
            return True
        answer = "refused" if result is AuthResult.FAILURE else "not enough, or refused"
        self._tried.append(f"{what}: {answer}")
        return result is AuthResult.MAYBE_PARTIAL and self._ask_methods()

    # Kerberos

    def _try_gssapi(self) -> bool:
        gssapi = self._credentials.gssapi
        if gssapi is None or GSSAPI_WITH_MIC not in self._offered:
            return False
        self._trying = GSSAPI_WITH_MIC
        try:
            result = self._call_in_thread("gssapi", self._session.auth_gssapi, self._user, gssapi)
        except MethodFailed as ex:
            self._tried.append(f"{GSSAPI_WITH_MIC}: {ex}")
            return False
        return self._note(GSSAPI_WITH_MIC, result)

    # Keys

    def _try_given_key(self) -> bool:
        key, certificate = self._credentials.key, self._credentials.certificate
        if key is None or PUBLICKEY not in self._offered:
            return False
        if certificate is not None and self._try_certificate(key, certificate):
            return True
        if PUBLICKEY not in self._offered:
            return False
        return self._try_key(key, f"private key {key.name}")

    def _try_certificate(self, key: KeyFile, certificate: Certificate) -> bool:
        what = f"certificate {certificate.name}"
        if not self._is_new(certificate.line, what):
            return False
        try:
            result = self._show_key(key, certificate)
        except PKeyFileError as ex:
            host, port = self._connection.host, self._connection.port
            raise PKeyFileError(
                "Certificate %s does not belong to the private key %s, or that cannot be used: %s",
                certificate.name,
                key.name,
                ex,
                host=host,
                port=port,
            ) from ex
        if self._note(what, result):
            return True
        reason = certificate.explain_refusal()
        if result is AuthResult.FAILURE and reason:
            self._tried[-1] += f" ({reason})"
        return False

    def _try_identity_files(self) -> bool:
        for path in self._credentials.identity_files:
            if PUBLICKEY not in self._offered:
                return False
            try:
                key = in_thread(private_key.load, path)
            except PKeyFileError as ex:
                if not isinstance(ex.__cause__, FileNotFoundError):
                    self._tried.append(f"identity {path}: {ex}")
                continue
            if key.encrypted and self._credentials.password is None:
                self._tried.append(f"identity {path}: is encrypted, and there is no passphrase")
                continue
            try:
                if self._try_key(key, f"identity {path}"):
                    return True
            except PKeyFileError as ex:
                self._tried.append(f"identity {path}: {ex}")
        return False

    def _try_key(self, key: KeyFile, what: str) -> bool:
        if not self._is_new(key.identity, what):
            return False
        return self._note(what, self._show_key(key))

    def _try_agent_keys(self) -> bool:
        """Try the keys of an agent of the program's own; one that is unusable stops no other."""
        for added in self._credentials.agent_keys:
            what = f"agent's key {added.file.name}"
            if PUBLICKEY not in self._offered:
                return False
            if not self._is_new(added.file.identity, what):
                continue
            try:
                result = self._show_key(added.file, passphrase=added.passphrase)
            except PKeyFileError as ex:
                self._tried.append(f"{what}: {ex}")
                continue
            if self._note(what, result):
                return True
        return False

    def _show_key(
        self,
        key: KeyFile,
        certificate: Certificate | None = None,
        passphrase: str | None = None,
    ) -> AuthResult:
        if passphrase is None:
            passphrase = (self._credentials.password or "") if key.encrypted else ""
        line = certificate.line if certificate is not None else None
        offer = PrivateKey(key.data, passphrase, key.encrypted, key.public, line)
        if key.encrypted:
            # Decrypting takes a tenth of a second.
            return self._call_in_thread("keys", self._session.auth_private_key, self._user, offer)
        return self._connection.call(self._session.auth_private_key, self._user, offer)

    def _is_new(self, identity: bytes, what: str) -> bool:
        """Whether a key has not been tried on this connection; note that it is being tried.

        Servers count attempts (sshd_config: MaxAuthTries).
        """
        if identity in self._tried_keys:
            return False
        self._tried_keys.add(identity)
        self._trying = what
        return True

    def _call_in_thread(
        self, kind: str, method: Callable[..., object], *args: object
    ) -> AuthResult:
        """Call the library in a thread, for what it can only wait for.

        Nobody else uses the session before it is authenticated. When this greenlet is
        interrupted the thread goes on until its call is done, so the end of the connection
        has to wait for it.
        """

        def attempt() -> object:
            call = pool(kind).spawn(outcome, method, *args)
            try:
                result, error = call.get()
            except BaseException:
                if not call.ready():
                    self._connection.close_after(call)
                raise
            if error is not None:
                raise error
            return result

        result = self._connection.call(attempt)
        assert isinstance(result, AuthResult)
        return result

    def _try_agent(self) -> bool:
        agent = self._credentials.agent
        if agent is None or PUBLICKEY not in self._offered:
            return False
        try:
            identities = agent.identities()
        except (OSError, AgentProtocolError) as ex:
            logger.debug("No keys from the agent at %s: %s", agent.path, ex)
            self._tried.append(f"agent {agent.path}: {ex}")
            return False
        for identity in identities:
            what = f"agent's key {identity.comment}"
            if PUBLICKEY not in self._offered:
                return False
            if not self._is_new(identity.blob, what):
                continue
            signer = AgentSigner(agent, identity, self._connection)
            try:
                result = self._connection.call(self._session.auth_signer, self._user, signer)
            finally:
                signer.cancel()
            if self._note(what, result):
                return True
        return False

    # Secrets

    def _try_secrets(self) -> bool:
        """Send the password, by each method at most once.

        With ``keyboard_interactive`` that method comes first where the server offers it: who
        asks for it needs it. What was refused as a password is not sent again as an answer.
        """
        if self._credentials.password is None or self._password_is_passphrase():
            return False
        if self._credentials.keyboard_interactive and KEYBOARD_INTERACTIVE in self._offered:
            if self._try_secret(KEYBOARD_INTERACTIVE):
                return True
            # Accepted as one of two methods: the other one is offered, and this one no more.
            if self._methods_after_secret(KEYBOARD_INTERACTIVE, PASSWORD):
                return self._try_secret(PASSWORD)
            return False
        if PASSWORD not in self._offered:
            return False
        if self._try_secret(PASSWORD):
            return True
        if self._credentials.keyboard_interactive and self._methods_after_secret(
            PASSWORD, KEYBOARD_INTERACTIVE
        ):
            return self._try_secret(KEYBOARD_INTERACTIVE)
        return False

    def _methods_after_secret(self, sent: str, wanted: str) -> bool:
        """Whether a secret was accepted by one method, and another one is wanted too."""
        self._ask_methods()
        return sent not in self._offered and wanted in self._offered

    def _password_is_passphrase(self) -> bool:
        key = self._credentials.key
        return key is not None and key.encrypted

    def _try_secret(self, method: str) -> bool:
        password = self._credentials.password
        assert password is not None
        self.secret_sent = True
        self._trying = method
        if method == PASSWORD:
            result = self._connection.call(self._session.auth_password, self._user, password)
        else:
            result = self._connection.call(
                self._session.auth_keyboard_interactive, self._user, self._answer
            )
        return self._note(method, result)

    def _answer(self, prompt: str) -> str:
        """Answer a prompt with the password, and never the same prompt twice."""
        if prompt in self._answered:
            return ""
        self._answered.add(prompt)
        return self._credentials.password or ""
