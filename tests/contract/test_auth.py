"""Authentication with keys, passwords and prompts. The agent has a file of its own."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh import utils
from pssh.config import HostConfig
from pssh.exceptions import AuthenticationError, PKeyFileError, PSSHError, Timeout
from tests.contract.access import access, wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import lines
from tests.servers.account import Account
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.keys import PASSPHRASE, create_key, public_line
from tests.servers.openssh import OpenSSHServer
from tests.servers.server import Server

StartServer = Callable[..., OpenSSHServer]
StartAsyncSSH = Callable[..., AsyncSSHServer]

#: That a server has seen the end of a connection: nothing more about it follows in its log.
ENDED = r"(?m)^(Connection (closed|reset) by|Received disconnect|Disconnect(ed|ing) )"

WRONG = "wrong-password-do-not-show"


@pytest.fixture
def verbose(sshd_with: StartServer) -> OpenSSHServer:
    """A server that logs every attempt, and takes keys and the password."""
    return sshd_with({"LogLevel": "VERBOSE"})


@pytest.fixture
def password(account: Account) -> str:
    """The account's password."""
    if account.password is None:
        pytest.skip("Only an account made for the tests has a password that is known.")
    return account.password


def refused(library: Library, server: Server, **settings: Any) -> AuthenticationError:
    """The error of a client that is not let in."""
    with pytest.raises(AuthenticationError) as caught:
        library.SSHClient(server.host, **access(server, **settings))
    return caught.value


def attempts(server: OpenSSHServer, connections: int = 1) -> list[str]:
    """The methods that a server has seen in vain, in order, once connections have ended."""
    log = wait_for_log(server, ENDED, count=connections)
    return re.findall(r"(?m)^Failed ([a-z/-]+) for", log)


def fingerprint(key: Path) -> str:
    """A key's fingerprint as the server logs it."""
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()[1]


# Keys


@pytest.mark.parametrize(
    "name",
    ["ed25519", "ecdsa", "rsa", "ecdsa_pem", "rsa_pem", "rsa_pkcs8"],
)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
def test_a_given_key(connect: Connect, keys: dict[str, Path], name: str, as_bytes: bool) -> None:
    pkey = keys[name].read_bytes() if as_bytes else str(keys[name])

    assert lines(connect(pkey=pkey).run_command("echo hello")) == ["hello"]


@pytest.mark.parametrize(
    "name",
    [
        "ed25519_encrypted",
        "ecdsa_encrypted",
        "rsa_encrypted",
        "ecdsa_pem_encrypted",
        "rsa_pem_encrypted",
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
def test_an_encrypted_key(
    connect: Connect, keys: dict[str, Path], name: str, as_bytes: bool
) -> None:
    pkey = keys[name].read_bytes() if as_bytes else str(keys[name])

    client = connect(pkey=pkey, password=PASSPHRASE)

    assert lines(client.run_command("echo hello")) == ["hello"]


@pytest.fixture(scope="module")
def pkcs8(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Path]) -> dict[str, Path]:
    """Further keys in PKCS#8: the same ones as in ``keys``."""
    folder = tmp_path_factory.mktemp("pkcs8")
    made = {}
    for name, passphrase in [("ecdsa", ""), ("ecdsa", PASSPHRASE), ("rsa", PASSPHRASE)]:
        path = folder / f"{name}{'_encrypted' if passphrase else ''}"
        shutil.copy(keys[name], path)
        change = ["-p", "-m", "PKCS8", "-f", str(path), "-P", "", "-N", passphrase]
        subprocess.run(["ssh-keygen", "-q", *change], check=True, stdin=subprocess.DEVNULL)
        made[path.name] = path
    return made


@pytest.mark.parametrize("name", ["ecdsa", "ecdsa_encrypted", "rsa_encrypted"])
def test_pkcs8_keys(connect: Connect, pkcs8: dict[str, Path], name: str) -> None:
    client = connect(pkey=str(pkcs8[name]), password=PASSPHRASE if "_" in name else None)

    assert lines(client.run_command("echo hello")) == ["hello"]


@pytest.mark.parametrize("size", [384, 521])
def test_longer_ecdsa_keys(
    connect: Connect, sshd_with: StartServer, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "key"
    make = ["-t", "ecdsa", "-b", str(size), "-f", str(path), "-N", ""]
    subprocess.run(["ssh-keygen", "-q", *make], check=True)
    server = sshd_with(authorized_keys=[path])

    assert lines(connect(server, pkey=str(path)).run_command("echo hello")) == ["hello"]


@pytest.mark.parametrize(
    "name",
    [
        "ed25519_encrypted",
        "ecdsa_encrypted",
        "rsa_encrypted",
        "ecdsa_pem_encrypted",
        "rsa_pem_encrypted",
    ],
)
def test_an_encrypted_key_with_a_wrong_passphrase(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path], name: str
) -> None:
    settings = access(verbose, pkey=str(keys[name]), num_retries=3, retry_delay=0)
    passphrases = (WRONG, "", None)
    for passphrase in passphrases:
        with pytest.raises((PKeyFileError, AuthenticationError)) as caught:
            library.SSHClient(verbose.host, **settings, password=passphrase)

        assert caught.value.host == verbose.host
        assert "passphrase" in str(caught.value)
        assert str(keys[name]) in str(caught.value)
        assert WRONG not in str(caught.value)
    # The passphrase is no password, and a wrong one stays wrong.
    log = wait_for_log(verbose, ENDED, count=len(passphrases))
    assert "password" not in log
    assert log.count("Connection from") == len(passphrases)


def test_a_right_passphrase_of_an_unknown_key_is_not_sent(
    library: Library, sshd_with: StartServer, keys: dict[str, Path]
) -> None:
    server = sshd_with({"LogLevel": "VERBOSE"}, authorized_keys=[])

    error = refused(library, server, pkey=str(keys["ed25519_encrypted"]), password=PASSPHRASE)

    assert attempts(server) == ["publickey"]
    assert PASSPHRASE not in str(error)


def garbage_keys() -> list[Any]:
    """What is taken for a private key by mistake."""
    begin, end = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----END OPENSSH PRIVATE KEY-----\n"
    return [
        pytest.param(b"not a key at all", id="text"),
        pytest.param(b"\x00\xff" * 100, id="binary"),
        pytest.param(begin, id="first line only"),
        pytest.param(begin + b"AAAA\n" + end, id="too short"),
        pytest.param(begin + b"!!!!\n" + end, id="no base64"),
        pytest.param(begin + b"b3BlbnNzaC1rZXktdjEA\n" + end, id="header only"),
        pytest.param(
            b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
            id="damaged PEM",
        ),
    ]


@pytest.mark.parametrize("content", garbage_keys())
def test_what_is_no_key_is_a_key_file_error(
    library: Library, sshd: OpenSSHServer, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "no_key"
    path.write_bytes(content)
    for pkey in (str(path), content):
        with pytest.raises(PKeyFileError) as caught:
            library.SSHClient(sshd.host, **access(sshd, pkey=pkey))
        assert "private key" in str(caught.value).lower()
        assert "\\x00" not in str(caught.value)
        assert "%s" not in str(caught.value)


def test_a_damaged_key(library: Library, sshd: OpenSSHServer, keys: dict[str, Path]) -> None:
    """Its header is in order, and what comes after it is not."""
    key = keys["ed25519"].read_bytes().splitlines(keepends=True)
    for damaged in (key[:3] + key[-1:], [*key[:3], b"A" * 70 + b"\n", *key[4:]]):
        with pytest.raises((PKeyFileError, AuthenticationError)) as caught:
            library.SSHClient(sshd.host, **access(sshd, pkey=b"".join(damaged)))
        assert "key" in str(caught.value)


def test_a_public_key_by_mistake(
    library: Library, sshd: OpenSSHServer, keys: dict[str, Path]
) -> None:
    path = keys["ed25519"].with_suffix(".pub")

    with pytest.raises(PKeyFileError, match=re.escape(str(path))) as caught:
        library.SSHClient(sshd.host, **access(sshd, pkey=str(path)))

    assert "public key" in str(caught.value)


def test_rsa_keys_sign_with_sha_2(
    connect: Connect, sshd_with: StartServer, keys: dict[str, Path]
) -> None:
    server = sshd_with({"PubkeyAcceptedAlgorithms": "rsa-sha2-512,rsa-sha2-256"})

    for name in ("rsa", "rsa_pem", "rsa_pkcs8"):
        client = connect(server, pkey=str(keys[name]))
        assert lines(client.run_command("echo hello")) == ["hello"]


def test_rsa_keys_do_not_sign_with_sha_1(
    library: Library, sshd_with: StartServer, keys: dict[str, Path]
) -> None:
    server = sshd_with({"PubkeyAcceptedAlgorithms": "+ssh-rsa", "LogLevel": "DEBUG3"})

    library.SSHClient(server.host, **access(server, pkey=str(keys["rsa"]))).close()

    log = wait_for_log(server, "Accepted publickey")
    assert "signature using rsa-sha2-" in log
    assert "signature using ssh-rsa " not in log


@pytest.mark.parametrize("name", ["unauthorized", "unauthorized_rsa"])
def test_an_unknown_key(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path], name: str
) -> None:
    error = refused(library, verbose, pkey=str(keys[name]))

    assert attempts(verbose) == ["publickey"]
    assert (error.host, error.port) == (verbose.host, verbose.port)
    assert str(keys[name]) in str(error)
    assert verbose.user in str(error)
    assert "publickey, password" in str(error) or "publickey,password" in str(error)
    # The order that 2.x has: format, host, port, reason, attempt, attempts.
    assert error.args[1:3] == (verbose.host, verbose.port)
    assert error.args[-2:] == (1, 1)


def test_nothing_to_try(library: Library, verbose: OpenSSHServer) -> None:
    error = refused(library, verbose)

    assert attempts(verbose) == []
    assert "nothing to try" in str(error)
    assert "publickey" in str(error)


def test_an_unknown_user(library: Library, verbose: OpenSSHServer, keys: dict[str, Path]) -> None:
    error = refused(library, verbose, pkey=str(keys["ed25519"]), user="no-such-user")

    assert "no-such-user" in str(error)


# Encrypted keys and the loop


@pytest.fixture(scope="module")
def slow_key(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Path]) -> Path:
    """A key that takes the better part of a second to decrypt: ssh-keygen's default is -a 16."""
    path = tmp_path_factory.mktemp("slow") / "key"
    shutil.copy(keys["ed25519"], path)
    change = ["-p", "-a", "80", "-f", str(path), "-P", "", "-N", PASSPHRASE]
    subprocess.run(["ssh-keygen", "-q", *change], check=True, stdin=subprocess.DEVNULL)
    return path


def test_decrypting_a_key_does_not_block_the_loop(
    library: Library, sshd: OpenSSHServer, slow_key: Path
) -> None:
    longest, ticks = 0.0, 0

    def tick() -> None:
        nonlocal longest, ticks
        before = time.monotonic()
        while True:
            gevent.sleep(0.01)
            now = time.monotonic()
            longest, before, ticks = max(longest, now - before), now, ticks + 1

    ticker = gevent.spawn(tick)
    started = time.monotonic()
    try:
        library.SSHClient(
            sshd.host, **access(sshd, pkey=str(slow_key), password=PASSPHRASE)
        ).close()
    finally:
        ticker.kill()
    taken = time.monotonic() - started

    assert taken > 0.2, "the key was too easy to decrypt for this test"
    assert ticks > 5
    assert longest < taken / 2


def test_a_time_out_while_a_key_is_decrypted(
    library: Library, sshd: OpenSSHServer, slow_key: Path
) -> None:
    """The thread goes on, and the client is left in peace by it."""
    settings = access(sshd, pkey=str(slow_key), password=PASSPHRASE)

    with pytest.raises(PSSHError, match="authenticate") as caught:
        library.SSHClient(sshd.host, **settings, timeout=0.2, connect_timeout=20)
    client = library.SSHClient(sshd.host, **settings)

    assert "0.2 seconds" in str(caught.value)
    assert lines(client.run_command("echo hello")) == ["hello"]
    client.close()


# Identity files


@pytest.fixture
def identities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``~/.ssh`` of a home folder of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_identity_files(
    connect: Connect, keys: dict[str, Path], identities: Path, name: str
) -> None:
    shutil.copy(keys[name], identities / f"id_{name}")

    client = connect(pkey=None, identity_auth=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_identity_auth_is_on_by_default(
    library: Library, sshd: OpenSSHServer, keys: dict[str, Path], identities: Path
) -> None:
    shutil.copy(keys["ed25519"], identities / "id_ed25519")
    settings = access(sshd)
    del settings["identity_auth"]

    library.SSHClient(sshd.host, **settings).close()


def test_identity_auth_off(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path], identities: Path
) -> None:
    shutil.copy(keys["ed25519"], identities / "id_ed25519")

    refused(library, verbose, identity_auth=False)

    assert attempts(verbose) == []


def test_identity_files_are_a_class_attribute(
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    identities: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"} <= set(
        library.SSHClient.IDENTITIES
    )
    shutil.copy(keys["ecdsa"], identities / "of_my_own")
    monkeypatch.setattr(library.SSHClient, "IDENTITIES", ("~/.ssh/missing", "~/.ssh/of_my_own"))

    settings = access(sshd, identity_auth=True)
    library.SSHClient(sshd.host, **settings).close()


def test_every_identity_file_gets_its_turn(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path], identities: Path
) -> None:
    shutil.copy(keys["unauthorized"], identities / "id_ed25519")
    (identities / "id_ecdsa").write_text("this is no key")
    shutil.copy(keys["rsa"], identities / "id_rsa")

    library.SSHClient(verbose.host, **access(verbose, identity_auth=True)).close()

    log = wait_for_log(verbose, "Accepted publickey")
    assert f"RSA {fingerprint(keys['rsa'])}" in log
    assert log.count("Failed publickey") == 1


def test_an_encrypted_identity_file(
    connect: Connect,
    library: Library,
    verbose: OpenSSHServer,
    keys: dict[str, Path],
    identities: Path,
) -> None:
    shutil.copy(keys["ed25519_encrypted"], identities / "id_ed25519")

    client = connect(pkey=None, identity_auth=True, password=PASSPHRASE)
    assert lines(client.run_command("echo hello")) == ["hello"]
    error = refused(library, verbose, identity_auth=True)
    assert "id_ed25519" in str(error)
    assert "passphrase" in str(error)


def test_an_identity_file_with_another_passphrase_does_not_end_it(
    connect: Connect, keys: dict[str, Path], identities: Path, password: str
) -> None:
    shutil.copy(keys["ed25519_encrypted"], identities / "id_ed25519")
    shutil.copy(keys["rsa"], identities / "id_rsa")

    client = connect(pkey=None, identity_auth=True, password=password)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_what_was_tried_is_in_the_error(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path], identities: Path
) -> None:
    shutil.copy(keys["unauthorized"], identities / "id_ed25519")
    (identities / "id_ecdsa").write_text("this is no key")
    pkey = str(keys["unauthorized_rsa"])

    error = refused(library, verbose, pkey=pkey, identity_auth=True, password=WRONG)

    for tried in (pkey, "id_ed25519", "id_ecdsa", "password"):
        assert tried in str(error)
    assert "id_rsa" not in str(error).replace(pkey, "")  # there is none
    assert "offers publickey, password" in str(error)
    assert WRONG not in str(error)


# Passwords


def test_a_password(connect: Connect, verbose: OpenSSHServer, password: str) -> None:
    client = connect(verbose, pkey=None, password=password)

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "Accepted password" in wait_for_log(verbose, "Accepted")


@pytest.mark.parametrize("secret", ["pässwörd ☃", "with 'quotes\" and \\", "x" * 500])
def test_any_password(connect: Connect, asyncssh_with: StartAsyncSSH, secret: str) -> None:
    server = asyncssh_with(password=secret)

    client = connect(server, pkey=None, password=secret)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_password_that_has_expired(library: Library, asyncssh_with: StartAsyncSSH) -> None:
    """The server does not refuse it, but waits for a new one."""
    server = asyncssh_with(password="secret", password_expired=True)
    # One library waits as well, for what it has thrown away.
    settings = {"password": "secret", "num_retries": 3, "retry_delay": 0, "timeout": None}
    error = refused(library, server, **settings)
    # libssh2 does not tell that from a refusal.
    assert "password: it has expired" in str(error) or library.name == "native"
    assert "password: " in str(error)
    assert "retry 1/3" in str(error)


def test_a_rejected_password_is_sent_once(library: Library, verbose: OpenSSHServer) -> None:
    error = refused(library, verbose, password=WRONG, num_retries=3, retry_delay=0)

    assert attempts(verbose) == ["password"]
    assert verbose.log().count("Connection from") == 1
    assert WRONG not in str(error)
    assert "password" in str(error)
    assert error.args[-2:] == (1, 3)


def test_a_rejected_password_is_sent_once_after_keys(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path]
) -> None:
    refused(
        library,
        verbose,
        pkey=str(keys["unauthorized"]),
        password=WRONG,
        num_retries=3,
        retry_delay=0,
    )

    assert attempts(verbose) == ["publickey", "password"]


def test_a_password_that_is_rejected_with_the_last_attempt_the_server_grants(
    library: Library, sshd_with: StartServer
) -> None:
    """The server hangs up instead of answering."""
    server = sshd_with({"LogLevel": "VERBOSE", "MaxAuthTries": "1"})

    error = refused(library, server, password=WRONG, num_retries=3, retry_delay=0)

    assert attempts(server) == ["password"]
    assert server.log().count("Connection from") == 1
    assert WRONG not in str(error)


def test_keys_are_tried_again(
    library: Library, verbose: OpenSSHServer, keys: dict[str, Path]
) -> None:
    error = refused(library, verbose, pkey=str(keys["unauthorized"]), num_retries=2, retry_delay=0)

    assert attempts(verbose, 2) == ["publickey", "publickey"]
    assert error.args[-2:] == (2, 2)


def test_an_unasked_password_is_not_sent(
    connect: Connect, verbose: OpenSSHServer, keys: dict[str, Path]
) -> None:
    connect(verbose, pkey=str(keys["ed25519"]), password=WRONG)

    assert "password" not in wait_for_log(verbose, "Accepted publickey")


def test_only_what_the_server_offers_is_tried(
    library: Library, sshd_with: StartServer, keys: dict[str, Path], password: str
) -> None:
    keys_only = sshd_with({"LogLevel": "DEBUG1", "PasswordAuthentication": "no"})
    passwords_only = sshd_with({"LogLevel": "DEBUG1", "PubkeyAuthentication": "no"})
    given = {"pkey": str(keys["unauthorized"]), "password": WRONG, "keyboard_interactive": True}

    error = refused(library, keys_only, **given)
    assert attempts(keys_only) == ["publickey"]
    assert "method password" not in keys_only.log()
    assert "method keyboard-interactive" not in keys_only.log()
    assert "offers publickey" in str(error)

    error = refused(library, passwords_only, **given)
    assert attempts(passwords_only) == ["password"]
    assert "method publickey" not in passwords_only.log()
    assert str(keys["unauthorized"]) not in str(error)  # it was not tried


# Prompts


def test_keyboard_interactive(connect: Connect, asyncssh_with: StartAsyncSSH) -> None:
    server = asyncssh_with(answers=["the answer"])

    client = connect(server, pkey=None, password="the answer", keyboard_interactive=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_every_prompt_is_answered_with_the_password(
    connect: Connect, asyncssh_with: StartAsyncSSH
) -> None:
    server = asyncssh_with(answers=["the answer"] * 3)

    client = connect(server, pkey=None, password="the answer", keyboard_interactive=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_keyboard_interactive_has_to_be_asked_for(
    library: Library, asyncssh_with: StartAsyncSSH
) -> None:
    server = asyncssh_with(answers=["the answer"])

    error = refused(library, server, password="the answer")

    assert "keyboard-interactive" in str(error)  # the server offers it


def test_wrong_answers(library: Library, asyncssh_with: StartAsyncSSH) -> None:
    server = asyncssh_with(answers=["first answer", "second answer"])

    error = refused(
        library,
        server,
        password=WRONG,
        keyboard_interactive=True,
        num_retries=3,
        retry_delay=0,
    )

    assert "keyboard-interactive" in str(error)
    assert WRONG not in str(error)
    assert error.args[-2:] == (1, 3)


@pytest.fixture
def asks(sshd_with: StartServer, account: Account) -> Callable[..., OpenSSHServer]:
    """A function that starts a server that asks for the password with a prompt of its own."""
    if not account.temporary:
        pytest.skip("PAM checks passwords for root only.")

    def start(**options: str) -> OpenSSHServer:
        return sshd_with(
            {
                "UsePAM": "yes",
                "KbdInteractiveAuthentication": "yes",
                "PasswordAuthentication": "no",
                "LogLevel": "VERBOSE",
                **options,
            }
        )

    return start


def test_keyboard_interactive_with_pam(
    connect: Connect, asks: Callable[..., OpenSSHServer], password: str
) -> None:
    server = asks()

    client = connect(server, pkey=None, password=password, keyboard_interactive=True)

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "Accepted keyboard-interactive/pam" in wait_for_log(server, "Accepted")


def test_a_rejected_answer_is_sent_once(
    library: Library, asks: Callable[..., OpenSSHServer]
) -> None:
    """Neither as a further answer, nor as a password, nor on a further connection."""
    servers = [asks(PasswordAuthentication=also) for also in ("no", "yes")]
    given = {"password": WRONG, "keyboard_interactive": True, "num_retries": 3, "retry_delay": 0}

    # PAM takes seconds to say no.
    refusing = [gevent.spawn(refused, library, server, **given) for server in servers]
    gevent.joinall(refusing, raise_error=True)

    for server, refusal in zip(servers, refusing, strict=True):
        assert WRONG not in str(refusal.value)
        assert attempts(server) == ["keyboard-interactive/pam"]
        assert server.log().count("Connection from") == 1


# Several methods, one after the other


def test_a_key_and_a_password(
    connect: Connect,
    library: Library,
    sshd_with: StartServer,
    keys: dict[str, Path],
    password: str,
) -> None:
    server = sshd_with({"AuthenticationMethods": "publickey,password", "LogLevel": "VERBOSE"})

    for name in ("ed25519", "rsa", "ecdsa_pem"):
        client = connect(server, pkey=str(keys[name]), password=password)
        assert lines(client.run_command("echo hello")) == ["hello"]
    log = wait_for_log(server, "Accepted password", count=3)
    assert log.count("Partial publickey") == 3
    assert "Failed" not in log

    since = len(server.log())
    error = refused(
        library, server, pkey=str(keys["ed25519"]), password=WRONG, num_retries=3, retry_delay=0
    )
    log = wait_for_log(server, ENDED, since)
    assert log.count("Failed password") == 1
    assert log.count("Partial publickey") == 1
    assert "password" in str(error)


def test_a_key_alone_is_not_enough(
    library: Library, sshd_with: StartServer, keys: dict[str, Path]
) -> None:
    server = sshd_with({"AuthenticationMethods": "publickey,password"})

    error = refused(library, server, pkey=str(keys["ed25519"]))

    assert "offers password" in str(error)
    assert str(keys["ed25519"]) in str(error)


def test_a_key_and_another_key(
    connect: Connect, sshd_with: StartServer, keys: dict[str, Path], identities: Path
) -> None:
    server = sshd_with({"AuthenticationMethods": "publickey,publickey"})
    shutil.copy(keys["rsa"], identities / "id_rsa")

    client = connect(server, pkey=str(keys["ed25519"]), identity_auth=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_key_and_a_prompt(
    connect: Connect, asks: Callable[..., OpenSSHServer], keys: dict[str, Path], password: str
) -> None:
    server = asks(AuthenticationMethods="publickey,keyboard-interactive")

    client = connect(
        server, pkey=str(keys["ed25519"]), password=password, keyboard_interactive=True
    )

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "Accepted keyboard-interactive/pam" in wait_for_log(server, "Accepted keyboard")


@pytest.mark.parametrize(
    "methods", ["password,keyboard-interactive", "keyboard-interactive,password"]
)
def test_a_password_and_a_prompt(
    connect: Connect, asks: Callable[..., OpenSSHServer], methods: str, password: str
) -> None:
    server = asks(AuthenticationMethods=methods, PasswordAuthentication="yes")

    client = connect(server, pkey=None, password=password, keyboard_interactive=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


# Many hosts


def test_one_refusal_is_one_host_s(
    connect_all: ConnectAll, library: Library, verbose: OpenSSHServer, password: str
) -> None:
    client = connect_all(
        3,
        verbose,
        pkey=None,
        password=password,
        num_retries=3,
        retry_delay=0,
        host_config=[HostConfig(), HostConfig(password=WRONG), HostConfig()],
    )

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert isinstance(outputs[1].exception, AuthenticationError)
    assert [lines(outputs[index]) for index in (0, 2)] == [["hello"], ["hello"]]
    assert attempts(verbose).count("password") == 1


# Secrets


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that the library logs, at the most talkative."""
    handlers, level = list(utils.logger.handlers), utils.logger.level
    utils.enable_debug_logger()
    caplog.set_level(logging.DEBUG)
    try:
        yield lambda: caplog.text
    finally:
        utils.logger.handlers[:] = handlers
        utils.logger.setLevel(level)


def test_secrets_are_not_logged(
    library: Library,
    verbose: OpenSSHServer,
    password: str,
    keys: dict[str, Path],
    said: Callable[[], str],
    capfd: pytest.CaptureFixture[str],
    identities: Path,
) -> None:
    encrypted = keys["ed25519_encrypted"].read_bytes()
    shutil.copy(keys["rsa_encrypted"], identities / "id_rsa")
    refused(library, verbose, password=WRONG, identity_auth=True, num_retries=2, retry_delay=0)
    for settings in ({"password": password}, {"pkey": encrypted, "password": PASSPHRASE}):
        with library.SSHClient(
            verbose.host, **access(verbose, known_hosts=str(identities / "new"), **settings)
        ) as client:
            client.run_command("true")
            assert password not in repr(client.config)
    with pytest.raises(PSSHError) as caught:
        library.SSHClient(verbose.host, **access(verbose, pkey=encrypted, password=WRONG))

    printed = capfd.readouterr()
    everything = said() + printed.out + printed.err + str(caught.value) + repr(caught.value)
    assert "Recorded" in everything  # something was logged
    for secret in (WRONG, password, PASSPHRASE, encrypted.decode().splitlines()[2]):
        assert secret not in everything


def test_secrets_are_not_in_errors(library: Library, verbose: OpenSSHServer) -> None:
    error: BaseException | None = refused(library, verbose, password=WRONG)

    while error is not None:
        assert WRONG not in str(error)
        assert WRONG not in repr(error)
        assert WRONG not in repr(error.args)
        assert WRONG not in repr(vars(error))
        error = error.__cause__ or error.__context__


def test_the_right_key_of_a_fresh_pair(
    connect: Connect, sshd_with: StartServer, tmp_path: Path
) -> None:
    """Nothing depends on the public half lying beside the private one."""
    path = create_key(tmp_path / "alone")
    server = sshd_with(authorized_keys=[path])
    assert public_line(path)
    path.with_suffix(".pub").unlink()

    assert lines(connect(server, pkey=str(path)).run_command("echo hello")) == ["hello"]


def test_an_identity_file_that_cannot_be_read_in_time(
    library: Library, sshd: OpenSSHServer, identities: Path
) -> None:
    """A disk that does not answer delays nobody else, and the time-out holds."""
    path = identities / "id_ed25519"
    os.mkfifo(path)
    connecting = gevent.spawn(
        library.SSHClient, sshd.host, **access(sshd, identity_auth=True, timeout=1)
    )
    ticks = 0
    while not connecting.ready():
        gevent.sleep(0.01)
        ticks += 1
    # Let the thread that still waits for the file go.
    os.close(os.open(path, os.O_WRONLY))
    assert isinstance(connecting.exception, Timeout)
    assert connecting.exception.step == "authenticate"
    assert ticks > 10
