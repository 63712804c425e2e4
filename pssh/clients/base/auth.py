"""Which ways of authenticating are tried, in which order (RFC 4252)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pssh.agent import AgentKey
from pssh.agent_protocol import AgentProtocolError, Identity
from pssh.certificate import Certificate
from pssh.clients.base import identities
from pssh.clients.base.agent import Agent, AgentSigner
from pssh.clients.base.algorithms import signs_for
from pssh.clients.base.connection import Connection
from pssh.clients.base.identities import IdentityFile
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
    #: Of an agent's keys only those that the identity files name.
    identities_only: bool = False
    #: Each for one of the identity files, or for a key of the agent.
    certificate_files: Sequence[str] = ()
    #: What keys may sign with; ``None`` for all.
    algorithms: Sequence[str] | None = None
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
        "_agent_keys",
        "_answered",
        "_connection",
        "_credentials",
        "_offered",
        "_read_identities",
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
        self._read_identities: list[IdentityFile] | None = None
        self._agent_keys: list[Identity] | None = None
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
            or self._try_certificate_files()
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
        if not self._is_new(certificate.line, certificate.blob, what):
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
        return self._note_certificate(certificate, what, result)

    def _note_certificate(self, certificate: Certificate, what: str, result: AuthResult) -> bool:
        if self._note(what, result):
            return True
        reason = certificate.explain_refusal()
        if result is AuthResult.FAILURE and reason:
            self._tried[-1] += f" ({reason})"
        return False

    def _try_certificate_files(self) -> bool:
        """Try certificates with whatever holds the key for each: a file, or the agent."""
        paths = self._credentials.certificate_files
        if not paths or PUBLICKEY not in self._offered:
            return False
        for found in in_thread(identities.load_certificates, paths):
            if isinstance(found, PKeyFileError):
                self._tried.append(f"certificate file: {found}")
            elif PUBLICKEY in self._offered and self._try_certificate_file(found):
                return True
        return False

    def _try_certificate_file(self, certificate: Certificate) -> bool:
        given = self._credentials.key
        if given is not None and given.public and given.identity == certificate.public_key:
            return self._try_certificate(given, certificate)
        for identity in self._identities():
            if identity.key is not None and identity.public == certificate.public_key:
                return self._try_identity(identity, certificate)
        for held in self._agent_identities():
            if held.blob == certificate.public_key:
                what = f"certificate {certificate.name}"
                return self._is_new(
                    certificate.line, certificate.blob, what
                ) and self._note_certificate(
                    certificate, what, self._show_agent_key(held, certificate.blob)
                )
        self._tried.append(f"certificate {certificate.name}: nobody has the key that it is for")
        return False

    def _identities(self) -> list[IdentityFile]:
        """Read the identity files, all of them and once."""
        if self._read_identities is None:
            paths = self._credentials.identity_files
            self._read_identities = in_thread(lambda: [identities.load(path) for path in paths])
        return self._read_identities

    def _try_identity_files(self) -> bool:
        for path in self._credentials.identity_files:
            if PUBLICKEY not in self._offered:
                return False
            if self._read_identities is not None:
                identity = next(each for each in self._read_identities if each.path == path)
            else:
                identity = in_thread(identities.load, path)
            if identity.problem is not None:
                self._tried.append(f"identity {path}: {identity.problem}")
            if identity.key is None:
                continue
            if identity.certificate is not None and self._try_identity(
                identity, identity.certificate
            ):
                return True
            if PUBLICKEY in self._offered and self._try_identity(identity):
                return True
        return False

    def _try_identity(self, identity: IdentityFile, certificate: Certificate | None = None) -> bool:
        """Try the key of an identity file; one that is unusable stops no other."""
        assert identity.key is not None
        what = f"identity {identity.path}"
        if identity.key.encrypted and self._credentials.password is None:
            if certificate is None:
                self._tried.append(f"{what}: is encrypted, and there is no passphrase")
            return False
        try:
            if certificate is not None:
                return self._try_certificate(identity.key, certificate)
            return self._try_key(identity.key, what, identity.public)
        except PKeyFileError as ex:
            self._tried.append(f"{what}: {ex}")
            return False

    def _try_key(self, key: KeyFile, what: str, public: bytes | None = None) -> bool:
        if public is None and key.public is not None:
            public = key.identity
        if not self._is_new(key.identity, public, what):
            return False
        return self._note(what, self._show_key(key))

    def _try_agent_keys(self) -> bool:
        """Try the keys of an agent of the program's own; one that is unusable stops no other."""
        for added in self._credentials.agent_keys:
            what = f"agent's key {added.file.name}"
            if PUBLICKEY not in self._offered:
                return False
            public = added.file.identity if added.file.public is not None else None
            if not self._is_new(added.file.identity, public, what):
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
        if not key.encrypted:
            passphrase = ""
        elif passphrase is None:
            passphrase = self._passphrase(key)
        line = certificate.line if certificate is not None else None
        offer = PrivateKey(key.data, passphrase, key.encrypted, key.public, line, key.name)
        if key.encrypted:
            # Decrypting takes a tenth of a second.
            return self._call_in_thread("keys", self._session.auth_private_key, self._user, offer)
        return self._connection.call(self._session.auth_private_key, self._user, offer)

    def _passphrase(self, key: KeyFile) -> str:
        if self._credentials.password is None:
            host, port = self._connection.host, self._connection.port
            raise PKeyFileError(
                "The private key %s is encrypted, and there is no passphrase for host %s:%s "
                "(setting password)",
                key.name,
                host,
                port,
                host=host,
                port=port,
            )
        return self._credentials.password

    def _is_new(self, identity: bytes, public: bytes | None, what: str) -> bool:
        """Whether a key has not been tried on this connection; note that it is being tried.

        Servers count attempts (sshd_config: MaxAuthTries). A key that cannot sign as it should
        is left out.

        :param identity: what tells it from others.
        :param public: the public key or the certificate, where it is known.
        """
        allowed = self._credentials.algorithms
        if allowed is not None and public is not None:
            kind = identities.key_type(public)
            if not signs_for(kind, allowed):
                self._tried.append(f"{what}: public_key_algorithms leaves {kind} out")
                return False
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
        for identity in self._agent_identities():
            what = f"agent's key {identity.comment}"
            if PUBLICKEY not in self._offered:
                return False
            if not self._is_new(identity.blob, identity.blob, what):
                continue
            if self._note(what, self._show_agent_key(identity)):
                return True
        return False

    def _agent_identities(self) -> list[Identity]:
        """Ask the agent for its keys, once, and leave out what may not be used."""
        agent = self._credentials.agent
        if agent is None:
            return []
        if self._agent_keys is None:
            try:
                self._agent_keys = agent.identities()
            except (OSError, AgentProtocolError) as ex:
                logger.debug("No keys from the agent at %s: %s", agent.path, ex)
                self._tried.append(f"agent {agent.path}: {ex}")
                self._agent_keys = []
        if not self._credentials.identities_only:
            return self._agent_keys
        named = {identity.public for identity in self._identities()}
        return [each for each in self._agent_keys if each.blob in named]

    def _show_agent_key(self, identity: Identity, certificate: bytes | None = None) -> AuthResult:
        assert self._credentials.agent is not None
        signer = AgentSigner(self._credentials.agent, identity, self._connection, certificate)
        try:
            return self._connection.call(self._session.auth_signer, self._user, signer)
        finally:
            signer.cancel()

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
            try:
                result = self._connection.call(self._session.auth_password, self._user, password)
            except MethodFailed as ex:
                self._tried.append(f"{method}: {ex}")
                return False
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
