"""User certificates: a key that an authority has signed (OpenSSH's PROTOCOL.certkeys)."""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pssh.config import HostConfig
from pssh.exceptions import AuthenticationError, InvalidAPIUseError, PKeyFileError
from tests.contract.access import access, wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import lines
from tests.contract.ssh_agents import SSHAgent
from tests.servers import fakes
from tests.servers.account import Account
from tests.servers.certificates import (
    EXPIRED,
    NOT_YET_VALID,
    CertificateAuthority,
    trusting,
)
from tests.servers.keys import PASSPHRASE
from tests.servers.openssh import OpenSSHServer

StartServer = Callable[..., OpenSSHServer]
Certify = Callable[..., dict[str, str]]

UNENCRYPTED = ["ed25519", "ecdsa", "rsa", "ecdsa_pem", "rsa_pem", "rsa_pkcs8"]
ENCRYPTED = [
    "ed25519_encrypted",
    "ecdsa_encrypted",
    "rsa_encrypted",
    "ecdsa_pem_encrypted",
    "rsa_pem_encrypted",
]

_numbers = itertools.count(1)


@pytest.fixture
def identity() -> str:
    """What the server calls the test's certificate in its log, where others stand as well."""
    return f"certificate-{next(_numbers)}"


@pytest.fixture
def certified(
    user_authority: CertificateAuthority, account: Account, keys: dict[str, Path], identity: str
) -> Certify:
    """A function that certifies a key and returns the settings ``pkey`` and ``cert_file``.

    ``certified(name="ed25519", **certificate)``: see :meth:`CertificateAuthority.certify`; the
    principal is the login name unless others are given.
    """

    def make(name: str = "ed25519", **certificate: Any) -> dict[str, str]:
        given = {"principals": [account.name], "identity": identity, **certificate}
        return {
            "pkey": str(keys[name]),
            "cert_file": str(user_authority.certify(keys[name], **given)),
        }

    return make


def refused(library: Library, server: OpenSSHServer, **settings: Any) -> AuthenticationError:
    """The error of a client that is not let in."""
    with pytest.raises(AuthenticationError) as caught:
        library.SSHClient(server.host, **access(server, **settings))
    return caught.value


# Being let in


@pytest.mark.parametrize("name", UNENCRYPTED)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
def test_a_certificate(
    connect: Connect,
    certificate_sshd: OpenSSHServer,
    certified: Certify,
    keys: dict[str, Path],
    identity: str,
    name: str,
    as_bytes: bool,
) -> None:
    settings: dict[str, Any] = certified(name)
    if as_bytes:
        settings["pkey"] = keys[name].read_bytes()

    client = connect(certificate_sshd, **settings)

    assert lines(client.run_command("echo hello")) == ["hello"]
    wait_for_log(certificate_sshd, rf"Accepted publickey .*-CERT .*ID {identity} ")


@pytest.mark.parametrize("name", ENCRYPTED)
def test_a_certificate_of_an_encrypted_key(
    connect: Connect,
    certificate_sshd: OpenSSHServer,
    certified: Certify,
    identity: str,
    name: str,
) -> None:
    client = connect(certificate_sshd, **certified(name), password=PASSPHRASE)

    assert lines(client.run_command("echo hello")) == ["hello"]
    wait_for_log(certificate_sshd, rf"Accepted publickey .*-CERT .*ID {identity} ")


def test_a_wrong_passphrase_of_a_key_with_a_certificate(
    library: Library, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    since = len(certificate_sshd.log())
    settings = certified("ed25519_encrypted")

    with pytest.raises((PKeyFileError, AuthenticationError)) as caught:
        library.SSHClient(
            certificate_sshd.host, **access(certificate_sshd, **settings, password="wrong-secret")
        )

    assert "passphrase" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)
    assert "password" not in certificate_sshd.log()[since:]


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_only_the_certificate_opens_the_account(
    library: Library, certificate_sshd: OpenSSHServer, keys: dict[str, Path], name: str
) -> None:
    """What the other tests rely on."""
    refused(library, certificate_sshd, pkey=str(keys[name]))


def test_the_login_name_is_the_principal(
    connect: Connect,
    sshd_with: StartServer,
    certified: Certify,
    user_authority: CertificateAuthority,
    account: Account,
) -> None:
    server = sshd_with(trusting(user_authority, account), authorized_keys=[])

    client = connect(server, **certified())

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_one_of_several_principals(
    connect: Connect, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    client = connect(certificate_sshd, **certified(principals=["alice", "operators"]))

    assert lines(client.run_command("echo hello")) == ["hello"]


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_an_authority_with_another_kind_of_key(
    connect: Connect,
    sshd_with: StartServer,
    account: Account,
    keys: dict[str, Path],
    tmp_path: Path,
    kind: str,
) -> None:
    authority = CertificateAuthority(tmp_path, kind)
    server = sshd_with(trusting(authority, account), authorized_keys=[])
    certificate = authority.certify(keys["ed25519"], principals=[account.name])

    client = connect(server, pkey=str(keys["ed25519"]), cert_file=str(certificate))

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_path_from_the_home_folder(
    connect: Connect,
    certificate_sshd: OpenSSHServer,
    certified: Certify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = certified()
    shutil.copy(settings["cert_file"], tmp_path / "of_mine-cert.pub")
    monkeypatch.setenv("HOME", str(tmp_path))

    client = connect(
        certificate_sshd, **{**settings, "cert_file": "~/of_mine-cert.pub"}, allow_agent=False
    )

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_path_object(
    connect: Connect, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    settings = certified()

    client = connect(
        certificate_sshd, pkey=Path(settings["pkey"]), cert_file=Path(settings["cert_file"])
    )

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_certificate_without_a_comment(
    connect: Connect, certificate_sshd: OpenSSHServer, certified: Certify, tmp_path: Path
) -> None:
    """And without the end of its line, as some copy it."""
    settings = certified()
    bare = tmp_path / "bare-cert.pub"
    bare.write_text(" ".join(Path(settings["cert_file"]).read_text().split()[:2]))

    client = connect(certificate_sshd, **{**settings, "cert_file": str(bare)})

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_what_a_certificate_forces(
    connect: Connect, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    client = connect(
        certificate_sshd, **certified(options=["force-command=echo forced; echo no >&2; exit 7"])
    )

    output = client.run_command("echo mine")

    assert lines(output) == ["forced"]
    assert output.stderr is not None
    assert list(output.stderr) == ["no"]
    client.wait_finished(output)
    assert output.exit_code == 7


def test_a_certificate_and_a_password(
    connect: Connect,
    sshd_with: StartServer,
    certified: Certify,
    user_authority: CertificateAuthority,
    account: Account,
) -> None:
    if account.password is None:
        pytest.skip("Only an account made for the tests has a password that is known.")
    options = {
        **trusting(user_authority, account),
        "AuthenticationMethods": "publickey,password",
        "LogLevel": "VERBOSE",
    }
    server = sshd_with(options, authorized_keys=[])

    client = connect(server, **certified(), password=account.password)

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "Failed" not in wait_for_log(server, "Accepted password")


# The certificate comes first


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SSHAgent]:
    """The user's agent, which holds no key yet."""
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="agent-") as folder, SSHAgent(Path(folder)) as made:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(made.path))
        yield made


@pytest.mark.parametrize("tries", ["1", "2"])
def test_the_certificate_comes_before_the_agent(
    connect: Connect,
    sshd_with: StartServer,
    certified: Certify,
    user_authority: CertificateAuthority,
    account: Account,
    agent: SSHAgent,
    keys: dict[str, Path],
    tries: str,
) -> None:
    """Among its keys is the one that the certificate is for, which is nothing without it."""
    agent.add(keys["unauthorized"], keys["ed25519"], keys["unauthorized_rsa"])
    options = {
        **trusting(user_authority, account),
        "MaxAuthTries": tries,
        "LogLevel": "VERBOSE",
    }
    server = sshd_with(options, authorized_keys=[])

    client = connect(server, **certified(), allow_agent=True)

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "Failed" not in wait_for_log(server, "Accepted publickey .*-CERT")


def test_the_agent_has_its_turn_after_a_certificate_that_is_refused(
    connect: Connect,
    sshd: OpenSSHServer,
    certified: Certify,
    agent: SSHAgent,
    keys: dict[str, Path],
) -> None:
    """The server trusts no authority at all."""
    agent.add(keys["ecdsa"])

    client = connect(sshd, **certified(), allow_agent=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


# What can be told without a server


def troubles() -> list[Any]:
    """Names of wrong certificates, with what the error has to say."""
    return [
        ("missing", "does not exist"),
        ("an ordinary public key", "is no certificate"),
        ("a private key", "is no certificate"),
        ("text", "is no certificate"),
        ("binary", "is no certificate"),
        ("empty", "is no certificate"),
        ("type only", "is no certificate"),
        ("no base64", "is no certificate"),
        ("too short", "is no certificate"),
        ("another type inside", "is no certificate"),
        ("of another key", "does not belong to the private key"),
        ("of another kind of key", "does not belong to the private key"),
        ("of a host", "is a host certificate"),
    ]


TROUBLES = pytest.mark.parametrize(
    ("trouble", "reason"), troubles(), ids=[name for name, _ in troubles()]
)


@pytest.fixture
def wrong(
    user_authority: CertificateAuthority, account: Account, keys: dict[str, Path], tmp_path: Path
) -> Callable[[str], Path]:
    """A function that makes what is no certificate for the key ``ed25519``: see ``troubles``."""

    def certify(name: str, **certificate: Any) -> Path:
        return user_authority.certify(keys[name], principals=[account.name], **certificate)

    def make(trouble: str) -> Path:
        path = tmp_path / "wrong-cert.pub"
        kind, blob = certify("ed25519").read_bytes().split()[:2]
        contents = {
            "text": b"this is no certificate\n",
            "binary": b"\x00\xff" * 100,
            "empty": b"",
            "type only": kind + b"\n",
            "no base64": kind + b" !!!!\n",
            "too short": kind + b" " + blob[:64] + b"\n",
            "another type inside": b"ssh-rsa-cert-v01@openssh.com " + blob + b"\n",
        }
        if trouble in contents:
            path.write_bytes(contents[trouble])
            return path
        others = {
            "missing": lambda: path,
            "an ordinary public key": lambda: keys["ed25519"].with_suffix(".pub"),
            "a private key": lambda: keys["ed25519"],
            "of another key": lambda: certify("unauthorized"),
            "of another kind of key": lambda: certify("rsa"),
            "of a host": lambda: certify("ed25519", host=True),
        }
        return others[trouble]()

    return make


@TROUBLES
@pytest.mark.parametrize("name", ["ed25519", "ed25519_encrypted"])
def test_a_wrong_certificate_is_found_out_at_once(
    library: Library,
    wrong: Callable[[str], Path],
    keys: dict[str, Path],
    trouble: str,
    reason: str,
    name: str,
) -> None:
    certificate = wrong(trouble)
    with fakes.Silent() as server:
        settings: dict[str, Any] = {
            "port": server.port,
            "pkey": str(keys[name]),
            "cert_file": str(certificate),
            "password": PASSPHRASE,
            "num_retries": 1,
            "timeout": 5,
        }
        for make in (
            lambda: library.SSHClient(server.host, **settings),
            lambda: library.ParallelSSHClient([server.host], **settings),
            lambda: library.ParallelSSHClient(
                [server.host],
                host_config=[HostConfig(private_key=str(keys[name]), cert_file=str(certificate))],
            ),
        ):
            with pytest.raises(PKeyFileError) as caught:
                make()

            assert str(certificate) in str(caught.value)
            assert reason in str(caught.value)
            assert "%s" not in str(caught.value)
            assert "\\x00" not in str(caught.value)
        assert server.accepted == 0


def test_a_folder_is_no_certificate(
    library: Library, keys: dict[str, Path], tmp_path: Path
) -> None:
    for make in (
        lambda: library.SSHClient("127.0.0.1", pkey=str(keys["rsa"]), cert_file=str(tmp_path)),
        lambda: library.ParallelSSHClient(
            ["127.0.0.1"], pkey=str(keys["rsa"]), cert_file=str(tmp_path)
        ),
    ):
        with pytest.raises(PKeyFileError, match=re.escape(str(tmp_path))):
            make()


@pytest.mark.parametrize("name", ["ecdsa_pem", "rsa_pem", "rsa_pkcs8", "rsa_pem_encrypted"])
def test_a_certificate_of_another_key_than_one_in_pem(
    library: Library,
    certificate_sshd: OpenSSHServer,
    wrong: Callable[[str], Path],
    keys: dict[str, Path],
    name: str,
) -> None:
    """Such a key's public half is not in the clear; the server need not be told, all the same."""
    certificate = wrong("of another key")
    since = len(certificate_sshd.log())

    with pytest.raises(PKeyFileError) as caught:
        library.SSHClient(
            certificate_sshd.host,
            **access(
                certificate_sshd,
                pkey=str(keys[name]),
                cert_file=str(certificate),
                password=PASSPHRASE if name.endswith("_encrypted") else None,
            ),
        )

    assert str(certificate) in str(caught.value)
    assert "does not belong to the private key" in str(caught.value)
    assert "Failed" not in certificate_sshd.log()[since:]


def test_a_certificate_needs_its_key(library: Library, certified: Certify) -> None:
    certificate = certified()["cert_file"]
    message = r"cert_file.*\bpkey\b"

    with pytest.raises(InvalidAPIUseError, match=message):
        library.SSHClient("127.0.0.1", cert_file=certificate)
    with pytest.raises(InvalidAPIUseError, match=message):
        library.ParallelSSHClient(["127.0.0.1"], cert_file=certificate)
    with pytest.raises(InvalidAPIUseError, match=message):
        library.ParallelSSHClient(
            ["127.0.0.1"] * 2, host_config=[HostConfig(), HostConfig(cert_file=certificate)]
        )


# What the server has to tell


@pytest.mark.parametrize(
    ("validity", "reason", "logged"),
    [
        (EXPIRED, "expired on 2020-01-02", "Certificate invalid: expired"),
        (NOT_YET_VALID, "is not valid before 2050-01-01", "Certificate invalid: not yet valid"),
    ],
    ids=["expired", "not yet valid"],
)
def test_a_certificate_out_of_time(
    connect: Connect,
    library: Library,
    certificate_sshd: OpenSSHServer,
    certified: Certify,
    validity: str,
    reason: str,
    logged: str,
) -> None:
    """Whose clock is right is the server's to say."""
    settings = certified(validity=validity)
    since = len(certificate_sshd.log())

    error = refused(library, certificate_sshd, **settings)

    assert settings["cert_file"] in str(error)
    assert reason in str(error)
    assert (error.host, error.port) == (certificate_sshd.host, certificate_sshd.port)
    wait_for_log(certificate_sshd, logged, since)
    # What else there is has its turn.
    if certificate_sshd.password is not None:
        client = connect(certificate_sshd, **settings, password=certificate_sshd.password)
        assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_certificate_out_of_time_on_one_of_several_hosts(
    connect_all: ConnectAll, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    old, good = certified(validity=EXPIRED), certified()
    config = [
        HostConfig(private_key=each["pkey"], cert_file=each["cert_file"])
        for each in (good, old, good)
    ]
    client = connect_all(3, certificate_sshd, pkey=None, host_config=config)

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert isinstance(outputs[1].exception, AuthenticationError)
    assert "expired on 2020-01-02" in str(outputs[1].exception)
    assert [lines(outputs[index]) for index in (0, 2)] == [["hello"], ["hello"]]


def test_a_wrong_principal(
    library: Library, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    settings = certified(principals=["alice", "bob"])

    error = refused(library, certificate_sshd, **settings)

    assert settings["cert_file"] in str(error)
    assert "principals: alice, bob" in str(error)
    # Nothing is wrong with its time.
    assert "expired" not in str(error)
    assert "valid before" not in str(error)


def test_another_authority(
    library: Library,
    certificate_sshd: OpenSSHServer,
    account: Account,
    keys: dict[str, Path],
    tmp_path: Path,
) -> None:
    certificate = CertificateAuthority(tmp_path).certify(keys["ed25519"], principals=[account.name])

    error = refused(
        library, certificate_sshd, pkey=str(keys["ed25519"]), cert_file=str(certificate)
    )

    assert str(certificate) in str(error)
    assert "publickey" in str(error)


# Many hosts


def test_a_common_certificate(
    connect_all: ConnectAll, certificate_sshd: OpenSSHServer, certified: Certify
) -> None:
    client = connect_all(5, certificate_sshd, **certified())

    outputs = client.run_command("echo hello")

    assert [lines(output) for output in outputs] == [["hello"]] * 5


def test_a_certificate_for_one_host_and_a_plain_key_for_another(
    connect_all: ConnectAll,
    sshd_with: StartServer,
    certified: Certify,
    user_authority: CertificateAuthority,
    account: Account,
    keys: dict[str, Path],
) -> None:
    options = {**trusting(user_authority, account), "LogLevel": "VERBOSE"}
    server = sshd_with(options, authorized_keys=[keys["rsa"]])
    settings = certified()
    config = [
        HostConfig(private_key=settings["pkey"], cert_file=settings["cert_file"]),
        HostConfig(private_key=str(keys["rsa"])),
    ]
    client = connect_all(2, server, pkey=None, host_config=config)

    outputs = client.run_command("echo hello")

    assert [lines(output) for output in outputs] == [["hello"], ["hello"]]
    log = wait_for_log(server, "Accepted publickey", count=2)
    assert re.search("Accepted publickey .* ED25519-CERT ", log)
    assert re.search("Accepted publickey .* RSA ", log)
    assert "Failed" not in log


def test_a_certificate_of_one_host_for_the_common_key(
    connect_all: ConnectAll,
    certificate_sshd: OpenSSHServer,
    certified: Certify,
) -> None:
    settings = certified()
    config = [HostConfig(cert_file=settings["cert_file"]), HostConfig()]
    client = connect_all(2, certificate_sshd, pkey=settings["pkey"], host_config=config)

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert lines(outputs[0]) == ["hello"]
    assert isinstance(outputs[1].exception, AuthenticationError)
