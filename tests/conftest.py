"""What all tests share: the servers, their account and their keys."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from pssh.clients.base.files import page_cache
from tests.servers.account import Account
from tests.servers.asyncssh_server import CHILD, AsyncSSHServer
from tests.servers.certificates import CertificateAuthority, trusting
from tests.servers.dropbear import DropbearServer
from tests.servers.kdc import KDC
from tests.servers.keys import shared_keys
from tests.servers.openssh import QUICK, OpenSSHServer
from tests.servers.process import MissingProgramError
from tests.servers.template import Template

# Python shall keep what it has compiled, also where it has been told not to: the tests are long to
# compile, several processes run them, and they start hundreds of interpreters.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: The keys that the servers let in.
AUTHORIZED = ("ed25519", "ecdsa", "rsa")

StartServer = Callable[..., OpenSSHServer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that at the end nobody waits for it alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Spare the collector thousands of tests that live to the end: it walks what may be freed."""
    gc.collect()
    gc.freeze()


# Nor need it walk everything when a test process ends. Servers that still run are ended before.
atexit.register(gc.freeze)


def missing(reason: str) -> NoReturn:
    """Skip the test, but never where nobody would notice.

    :param reason: a sentence for the report.
    """
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def user_ssh_untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home folder and no agent, so that no test finds or touches the user's own keys."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        yield home


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a local file is in memory: it is read in threads."""
    monkeypatch.setattr(page_cache, "reader", lambda _: lambda *_: None)


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """The account that the servers let in."""
    try:
        made = Account()
    except MissingProgramError as error:
        missing(str(error))
    with made:
        yield made


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Key name -> private key path; see :func:`tests.servers.keys.shared_keys`."""
    folder = tmp_path_factory.getbasetemp()
    # Each of several test processes has a folder of its own in that of the run.
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    try:
        return shared_keys(shared)
    except MissingProgramError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def authorized_keys(keys: dict[str, Path]) -> list[Path]:
    """The keys that the servers let in."""
    return [keys[name] for name in AUTHORIZED]


@pytest.fixture(scope="session")
def sshd(
    tmp_path_factory: pytest.TempPathFactory,
    account: Account,
    keys: dict[str, Path],
    authorized_keys: list[Path],
) -> Iterator[OpenSSHServer]:
    """An OpenSSH server that takes ``PSSH_*`` variables, and the password if we know it."""
    try:
        server = OpenSSHServer(
            tmp_path_factory.mktemp("sshd"),
            account=account,
            options={**QUICK, "AcceptEnv": "PSSH_*"},
            host_keys=("ed25519", "ecdsa", keys["host_rsa"]),
            authorized_keys=authorized_keys,
        )
    except MissingProgramError as error:
        missing(str(error))
    with server:
        yield server


@pytest.fixture
def sshd_with(
    tmp_path_factory: pytest.TempPathFactory, account: Account, authorized_keys: list[Path]
) -> Iterator[StartServer]:
    """A function that starts an OpenSSH server with ``options`` and ends it after the test.

    It takes the parameters of :class:`OpenSSHServer`; without others there is one ed25519 host
    key, the usual keys are let in, and the key exchange is a quick one.
    """
    with ExitStack() as stack:

        def start(options: dict[str, str] | None = None, **parameters: object) -> OpenSSHServer:
            settings: dict[str, object] = {
                "account": account,
                "options": {**QUICK, **(options or {})},
                "host_keys": ("ed25519",),
                "authorized_keys": authorized_keys,
                **parameters,
            }
            try:
                server = OpenSSHServer(
                    tmp_path_factory.mktemp("sshd"),
                    **settings,  # type: ignore[arg-type]
                )
            except MissingProgramError as error:
                missing(str(error))
            return stack.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def user_authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """The authority whose certificates :func:`certificate_sshd` trusts."""
    try:
        return CertificateAuthority(tmp_path_factory.mktemp("authority"))
    except MissingProgramError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def certificate_sshd(
    tmp_path_factory: pytest.TempPathFactory, account: Account, user_authority: CertificateAuthority
) -> Iterator[OpenSSHServer]:
    """An OpenSSH server that no key opens, only a certificate, and the password if we know it.

    The login name is a principal that may log in, and ``operators`` is another one.
    """
    options = trusting(user_authority, account, [account.name, "operators"])
    try:
        server = OpenSSHServer(
            tmp_path_factory.mktemp("sshd"),
            account=account,
            options={**QUICK, **options, "LogLevel": "VERBOSE"},
            host_keys=("ed25519",),
        )
    except MissingProgramError as error:
        missing(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def kdc(tmp_path_factory: pytest.TempPathFactory, account: Account) -> Iterator[KDC]:
    """A Kerberos realm that has the account as its user, and ``localhost`` as its host."""
    try:
        made = KDC(tmp_path_factory.mktemp("kdc"), account=account)
    except MissingProgramError as error:
        missing(str(error))
    with made:
        yield made


@pytest.fixture(scope="session")
def expired_ticket(tmp_path_factory: pytest.TempPathFactory, kdc: KDC) -> str:
    """The name of a cache whose ticket, the user's, has expired."""
    return kdc.kinit_expired(tmp_path_factory.mktemp("expired") / "ticket")


@pytest.fixture(scope="session")
def gssapi_sshd(
    tmp_path_factory: pytest.TempPathFactory,
    account: Account,
    authorized_keys: list[Path],
    kdc: KDC,
) -> Iterator[OpenSSHServer]:
    """An OpenSSH server that takes tickets of the realm, the usual keys, and the password."""
    with OpenSSHServer(
        tmp_path_factory.mktemp("sshd"),
        account=account,
        options={
            "GSSAPIAuthentication": "yes",
            "GSSAPICleanupCredentials": "yes",
            # The name in the keytab need not be this machine's.
            "GSSAPIStrictAcceptorCheck": "no",
            "LogLevel": "VERBOSE",
        },
        host_keys=("ed25519",),
        authorized_keys=authorized_keys,
        environment=kdc.server_environment,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def dropbear(
    tmp_path_factory: pytest.TempPathFactory,
    account: Account,
    keys: dict[str, Path],
    authorized_keys: list[Path],
) -> Iterator[DropbearServer]:
    """A Dropbear server."""
    if not account.temporary:
        pytest.skip("Dropbear needs an account of its own, which needs root.")
    folder = tmp_path_factory.mktemp("dropbear")
    try:
        server = DropbearServer(
            folder,
            account=account,
            # To make one of RSA takes longer than all that most tests ask of the server.
            host_keys=("ed25519", "ecdsa", keys["host_rsa"]),
            authorized_keys=authorized_keys,
        )
    except MissingProgramError as error:
        missing(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def asyncssh_template() -> Iterator[Template]:
    """What all asyncssh servers are copies of."""
    if find_spec("asyncssh") is None:
        missing("asyncssh is not installed (pip install asyncssh).")
    with Template(CHILD) as template:
        yield template


@pytest.fixture(scope="session")
def asyncssh_server(
    tmp_path_factory: pytest.TempPathFactory,
    asyncssh_template: Template,
    authorized_keys: list[Path],
) -> Iterator[AsyncSSHServer]:
    """An asyncssh server that takes keys, a password, and two answers."""
    with AsyncSSHServer(
        tmp_path_factory.mktemp("asyncssh"),
        template=asyncssh_template,
        authorized_keys=authorized_keys,
        password="a password",
        answers=("first answer", "second answer"),
    ) as server:
        yield server


@pytest.fixture
def asyncssh_with(
    tmp_path_factory: pytest.TempPathFactory,
    asyncssh_template: Template,
    authorized_keys: list[Path],
) -> Iterator[Callable[..., AsyncSSHServer]]:
    """A function that starts an asyncssh server and ends it after the test.

    It takes the parameters of :class:`AsyncSSHServer`; the usual keys are let in.
    """
    with ExitStack() as stack:

        def start(**parameters: object) -> AsyncSSHServer:
            settings = {
                "template": asyncssh_template,
                "authorized_keys": authorized_keys,
                **parameters,
            }
            folder = tmp_path_factory.mktemp("asyncssh")
            return stack.enter_context(
                AsyncSSHServer(folder, **settings)  # type: ignore[arg-type]
            )

        yield start
