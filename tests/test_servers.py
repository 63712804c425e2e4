"""The servers that the other tests trust, driven with the OpenSSH client and bare sockets."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers import fakes
from tests.servers.account import NAME_PREFIX, Account, AccountChangeError
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.certificates import EXPIRED, NOT_YET_VALID, CertificateAuthority
from tests.servers.cut_proxy import CutProxy
from tests.servers.delay_proxy import DelayProxy
from tests.servers.dropbear import DropbearServer
from tests.servers.kdc import KDC, SilentKDC
from tests.servers.keys import PASSPHRASE
from tests.servers.openssh import OpenSSHServer
from tests.servers.process import is_listening
from tests.servers.process_tree import is_running, wait_until
from tests.servers.server import Server

OPTIONS = (
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "BatchMode=yes",
    "ConnectTimeout=10",
)


def ssh_command(
    server: Server, key: Path, command: str, *, port: int = 0, known_hosts: Path | None = None
) -> list[str]:
    """A call of the OpenSSH client that touches nothing outside our folders."""
    options = (*OPTIONS, f"UserKnownHostsFile={known_hosts or server.known_hosts}")
    return [
        *("ssh", "-F", "/dev/null", "-i", str(key), "-p", str(port or server.port)),
        *(part for option in options for part in ("-o", option)),
        *(f"{server.user}@{server.host}", command),
    ]


def ssh(server: Server, key: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command through the OpenSSH client."""
    arguments = ssh_command(server, key, command)
    return subprocess.run(
        arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10
    )


def through(proxy: CutProxy | DelayProxy, server: Server, key: Path, command: str) -> list[str]:
    """A call of the OpenSSH client through a proxy."""
    known_hosts = server.folder / f"known_hosts_{proxy.port}"
    known_hosts.write_text(server.known_hosts_text(proxy.port))
    return ssh_command(server, key, command, port=proxy.port, known_hosts=known_hosts)


@pytest.fixture
def running() -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """A function that starts a program whose output is piped; all are ended after the test."""
    with ExitStack() as stack:

        def start(command: list[str]) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


# What ends with us


def test_a_server_ends_with_all_it_started(
    sshd_with: Callable[..., OpenSSHServer],
    keys: dict[str, Path],
    running: Callable[[list[str]], subprocess.Popen[bytes]],
) -> None:
    server = sshd_with()
    client = running(ssh_command(server, keys["ed25519"], "echo $$; exec sleep 1000"))
    assert client.stdout is not None
    command = int(client.stdout.readline())
    listener = server.pid
    server.stop()
    assert not is_running(listener)
    assert not is_running(command)
    assert not is_listening(server.port)


@pytest.mark.parametrize(
    "started",
    [
        "child = ServerProcess(['/bin/sleep', '1000'], log)\n"
        "name = pathlib.Path(f'/proc/{child.pid}/comm')\n"
        "wait_until(lambda: name.read_text() == 'sleep\\n', 'the child to begin')",
        "child = CopiedServer(Template('time'), 'import time; time.sleep(1000)', [], log)",
    ],
    ids=["a program", "a copy"],
)
def test_a_server_ends_when_the_tests_are_killed(tmp_path: Path, started: str) -> None:
    script = (
        "import os, pathlib, sys, signal\n"
        "from tests.servers.process import ServerProcess\n"
        "from tests.servers.process_tree import wait_until\n"
        "from tests.servers.template import CopiedServer, Template\n"
        "log = pathlib.Path(sys.argv[1])\n"
        f"{started}\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    checkout = Path(__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        cwd=checkout,
        timeout=10,
    )
    assert killed.returncode == -signal.SIGKILL
    server = int(killed.stdout)
    wait_until(lambda: not is_running(server), "the end of the server")


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can make accounts.")
def test_an_account_is_removed() -> None:
    with Account() as account:
        assert account.home.is_dir()
        name = account.name
        assert name in Path("/etc/passwd").read_text()
    assert name not in Path("/etc/passwd").read_text()
    assert not account.home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can make accounts.")
def test_test_runs_that_start_together_remove_stale_accounts_together() -> None:
    """Each finds the same accounts, and makes and removes its own."""
    left_behind = "import os; from tests.servers import account; account._remove = print; "
    made = "account.Account(); os._exit(0)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", left_behind + made], check=True)
    stale = [entry.pw_name for entry in pwd.getpwall() if entry.pw_name.startswith(NAME_PREFIX)]
    assert stale

    whole_life = "from tests.servers.account import Account\nwith Account(): pass"
    runs = [
        subprocess.Popen([sys.executable, "-c", whole_life], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    assert [(run.communicate()[1], run.returncode) for run in runs] == [("", 0)] * len(runs)
    for name in stale:
        if not is_running(int(name.split("-")[2])):
            with pytest.raises(KeyError):
                pwd.getpwnam(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can make accounts.")
def test_an_account_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "userdel"
    program.write_text("#!/bin/sh\necho 'it is in use' >&2\nexit 8\n")
    program.chmod(0o700)
    with Account() as account:
        monkeypatch.setattr("tests.servers.account.find_program", lambda *_: str(program))
        with pytest.raises(AccountChangeError, match="it is in use"):
            account.remove()

        # Gone is gone, whoever has removed it.
        program.write_text(f"#!/bin/sh\n{shutil.which('userdel')} {account.name}\nexit 1\n")
        account.remove()
    assert not account.home.exists()


def test_each_key_can_be_read_by_ssh_keygen(keys: dict[str, Path]) -> None:
    for name, path in keys.items():
        passphrase = PASSPHRASE if "encrypted" in name else ""
        public = subprocess.run(
            ["ssh-keygen", "-y", "-P", passphrase, "-f", str(path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert public.split()[1] == path.with_name(path.name + ".pub").read_text().split()[1]
    assert "BEGIN RSA PRIVATE KEY" in keys["rsa_pem"].read_text()
    assert "BEGIN EC PRIVATE KEY" in keys["ecdsa_pem"].read_text()
    assert "ENCRYPTED" in keys["rsa_pem_encrypted"].read_text()
    assert "BEGIN PRIVATE KEY" in keys["rsa_pkcs8"].read_text()
    assert "BEGIN OPENSSH PRIVATE KEY" in keys["rsa"].read_text()


# Real servers


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_openssh_runs_a_command(sshd: OpenSSHServer, keys: dict[str, Path], name: str) -> None:
    done = ssh(sshd, keys[name], "echo out; echo err >&2; id -un; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (f"out\n{sshd.user}\n", "err\n", 7)
    assert "Accepted publickey" in sshd.log()


def test_openssh_refuses_a_strange_key(sshd: OpenSSHServer, keys: dict[str, Path]) -> None:
    assert ssh(sshd, keys["unauthorized"], "true").returncode == 255


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root's account has a known password.")
@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_openssh_takes_the_password(
    sshd_with: Callable[..., OpenSSHServer], tmp_path: Path, method: str
) -> None:
    interactive = "yes" if method == "keyboard-interactive" else "no"
    server = sshd_with({"KbdInteractiveAuthentication": interactive})
    answer = tmp_path / "answer"
    answer.write_text(f"#!/bin/sh\necho {server.password}\n")
    answer.chmod(0o700)
    command = ssh_command(server, Path("/dev/null"), "echo in")
    command[command.index("BatchMode=yes")] = f"PreferredAuthentications={method}"
    environment = {**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"}
    assert subprocess.check_output(command, env=environment, timeout=10) == b"in\n"


def test_openssh_options_replace_ours(
    sshd_with: Callable[..., OpenSSHServer], keys: dict[str, Path]
) -> None:
    server = sshd_with({"forcecommand": "echo forced", "StrictModes": "no"}, ipv6=True)
    assert ssh(server, keys["ed25519"], "echo mine").stdout == "forced\n"
    socket.create_connection(("::1", server.port), timeout=5).close()


def test_openssh_connections_can_be_killed(
    sshd_with: Callable[..., OpenSSHServer],
    keys: dict[str, Path],
    running: Callable[[list[str]], subprocess.Popen[bytes]],
) -> None:
    server = sshd_with()
    assert server.connections() == []
    client = running(ssh_command(server, keys["ed25519"], "echo here; exec sleep 1000"))
    assert client.stdout is not None
    assert client.stdout.readline() == b"here\n"
    assert len(server.connections()) == 1
    server.kill_connections()
    assert client.wait(10) == 255
    assert server.connections() == []
    assert ssh(server, keys["ed25519"], "echo alive").stdout == "alive\n"


def test_openssh_can_be_restarted(
    sshd_with: Callable[..., OpenSSHServer], keys: dict[str, Path]
) -> None:
    server = sshd_with()
    port = server.port
    server.stop()
    assert ssh(server, keys["ed25519"], "true").returncode == 255
    server.restart()
    assert server.port == port
    assert ssh(server, keys["ed25519"], "echo back").stdout == "back\n"


# Certificates


def with_certificate(
    server: OpenSSHServer, key: Path, certificate: Path
) -> subprocess.CompletedProcess[str]:
    """Run ``echo mine`` through the OpenSSH client, which shows a certificate."""
    program, *arguments = ssh_command(server, key, "echo mine")
    return subprocess.run(
        [program, "-o", f"CertificateFile={certificate}", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=10,
    )


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("principal", ["the login name", "operators"])
def test_openssh_takes_a_certificate_and_no_key(
    certificate_sshd: OpenSSHServer,
    user_authority: CertificateAuthority,
    keys: dict[str, Path],
    name: str,
    principal: str,
) -> None:
    principals = [certificate_sshd.user if principal == "the login name" else principal, "alice"]
    since = len(certificate_sshd.log())

    certificate = user_authority.certify(
        keys[name], principals=principals, identity="somebody", serial=42
    )

    assert ssh(certificate_sshd, keys[name], "echo mine").returncode == 255
    assert with_certificate(certificate_sshd, keys[name], certificate).stdout == "mine\n"
    assert re.search(
        r"Accepted publickey .*-CERT .*ID somebody \(serial 42\)", certificate_sshd.log()[since:]
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"validity": EXPIRED}, "Certificate invalid: expired"),
        ({"validity": NOT_YET_VALID}, "Certificate invalid: not yet valid"),
        ({"principals": ["alice"]}, "does not contain an authorized principal"),
        ({"principals": []}, "does not contain an authorized principal"),
    ],
)
def test_openssh_refuses_certificates(
    certificate_sshd: OpenSSHServer,
    user_authority: CertificateAuthority,
    keys: dict[str, Path],
    changes: dict[str, Any],
    reason: str,
) -> None:
    given = {"principals": [certificate_sshd.user], **changes}
    since = len(certificate_sshd.log())

    certificate = user_authority.certify(keys["ed25519"], **given)

    assert with_certificate(certificate_sshd, keys["ed25519"], certificate).returncode == 255
    assert reason in certificate_sshd.log()[since:]


def test_the_authority_signs_for_users_and_hosts(
    user_authority: CertificateAuthority, keys: dict[str, Path]
) -> None:
    for host, kind in ((False, "user certificate"), (True, "host certificate")):
        certificate = user_authority.certify(
            keys["ecdsa"], principals=["alice", "bob"], validity=EXPIRED, serial=3, host=host
        )
        shown = subprocess.check_output(["ssh-keygen", "-L", "-f", certificate], text=True)
        assert f"ecdsa-sha2-nistp256-cert-v01@openssh.com {kind}" in shown
        assert re.search(r"Serial: 3\n.*Valid: .* to 2020-01-02T", shown, re.DOTALL)
        assert re.search(r"Principals: \n\s+alice\n\s+bob\n", shown)


def test_openssh_runs_what_a_certificate_forces(
    certificate_sshd: OpenSSHServer,
    user_authority: CertificateAuthority,
    keys: dict[str, Path],
) -> None:
    certificate = user_authority.certify(
        keys["rsa"],
        principals=[certificate_sshd.user],
        options=["force-command=echo forced; exit 7"],
    )

    done = with_certificate(certificate_sshd, keys["rsa"], certificate)

    assert (done.stdout, done.returncode) == ("forced\n", 7)


# Kerberos

SHOW_CACHE = 'echo cache=$KRB5CCNAME; if test -n "$KRB5CCNAME"; then klist -f; fi'


def with_ticket(
    server: OpenSSHServer, kdc: KDC, cache: str, *options: str, command: str = SHOW_CACHE
) -> subprocess.CompletedProcess[str]:
    """Run a command through the OpenSSH client, which has a ticket and nothing else."""
    program, *arguments = ssh_command(server, Path("/dev/null"), command)
    arguments[-2] = f"{server.user}@localhost"
    given = ("PreferredAuthentications=gssapi-with-mic", "GSSAPIAuthentication=yes", *options)
    return subprocess.run(
        [program, "-v", *(part for option in given for part in ("-o", option)), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **kdc.environment, "KRB5CCNAME": cache},
        timeout=10,
    )


def test_the_kdc_gives_tickets(kdc: KDC, tmp_path: Path) -> None:
    forwardable = kdc.klist(kdc.kinit(tmp_path / "forwardable", forwardable=True))
    plain = kdc.klist(kdc.kinit(tmp_path / "plain"))
    stranger = kdc.klist(kdc.kinit(f"DIR::{tmp_path}/tkt", kdc.stranger))

    assert f"Default principal: {kdc.principal}" in forwardable
    assert re.search(r"Flags: \w*F", forwardable)
    assert not re.search(r"Flags: \w*F", plain)
    assert f"Default principal: {kdc.stranger}" in stranger
    assert f"{kdc.principal} for krbtgt/{kdc.realm}@{kdc.realm}" in kdc.log()


def test_a_ticket_expires(kdc: KDC, expired_ticket: str, tmp_path: Path) -> None:
    assert kdc.is_valid(kdc.kinit(tmp_path / "valid"))
    assert not kdc.is_valid(expired_ticket)
    assert f"Default principal: {kdc.principal}" in kdc.klist(expired_ticket)


def test_a_kdc_ends(tmp_path: Path, account: Account) -> None:
    with KDC(tmp_path, account=account) as kdc:
        port = kdc.port
        assert is_listening(port)
        kdc.kinit(tmp_path / "ticket")
    assert not is_listening(port)
    with pytest.raises(RuntimeError, match="Cannot contact any KDC"):
        kdc.kinit(tmp_path / "ticket")


def test_a_silent_kdc(
    kdc: KDC, gssapi_sshd: OpenSSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = kdc.kinit(tmp_path / "ticket")
    with SilentKDC() as silent:
        assert silent.asked == 0
        configuration = tmp_path / "krb5.conf"
        configuration.write_text(kdc.configuration(silent.port))
        monkeypatch.setitem(kdc.environment, "KRB5_CONFIG", str(configuration))
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(with_ticket, gssapi_sshd, kdc, cache)
            wait_until(lambda: silent.asked == 1, "the question to the KDC")
            assert not waiting.done()
            silent.stop()
            assert "Cannot contact any KDC" in waiting.result().stderr


def test_openssh_takes_a_ticket(gssapi_sshd: OpenSSHServer, kdc: KDC, tmp_path: Path) -> None:
    cache = kdc.kinit(tmp_path / "ticket", forwardable=True)
    since = len(gssapi_sshd.log())

    done = with_ticket(gssapi_sshd, kdc, cache, command="id -un")

    assert done.stdout == f"{gssapi_sshd.user}\n"
    assert f"Accepted gssapi-with-mic for {gssapi_sshd.user}" in gssapi_sshd.log()[since:]
    assert f"krb5 principal {kdc.principal}" in gssapi_sshd.log()[since:]


def test_openssh_is_delegated_a_ticket(
    gssapi_sshd: OpenSSHServer, kdc: KDC, tmp_path: Path
) -> None:
    delegate = "GSSAPIDelegateCredentials=yes"
    forwardable = kdc.kinit(tmp_path / "forwardable", forwardable=True)
    plain = kdc.kinit(tmp_path / "plain")

    shown = with_ticket(gssapi_sshd, kdc, forwardable, delegate).stdout

    cache = re.search("^cache=FILE:(.+)$", shown, re.MULTILINE)
    assert cache
    assert f"Default principal: {kdc.principal}" in shown
    wait_until(lambda: not Path(cache[1]).exists(), "the end of the delegated ticket")
    for given in ([plain, delegate], [forwardable, "GSSAPIDelegateCredentials=no"]):
        shown = with_ticket(gssapi_sshd, kdc, *given).stdout
        assert shown.startswith("cache=\n")


def test_openssh_refuses_other_tickets(
    gssapi_sshd: OpenSSHServer, kdc: KDC, expired_ticket: str, tmp_path: Path
) -> None:
    stranger = with_ticket(gssapi_sshd, kdc, kdc.kinit(tmp_path / "stranger", kdc.stranger))
    expired = with_ticket(gssapi_sshd, kdc, expired_ticket)
    none = with_ticket(gssapi_sshd, kdc, f"FILE:{tmp_path}/nothing")

    assert [each.returncode for each in (stranger, expired, none)] == [255, 255, 255]
    assert "Ticket expired" in expired.stderr
    assert "No Kerberos credentials available" in none.stderr
    assert f"Failed gssapi-with-mic for {gssapi_sshd.user}" in gssapi_sshd.log()


def test_dropbear_runs_a_command(dropbear: DropbearServer, keys: dict[str, Path]) -> None:
    done = ssh(dropbear, keys["ed25519"], "echo out; echo err >&2; id -un; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (f"out\n{dropbear.user}\n", "err\n", 7)


def test_asyncssh_runs_a_command(asyncssh_server: AsyncSSHServer, keys: dict[str, Path]) -> None:
    done = ssh(asyncssh_server, keys["ed25519"], "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    echoed = subprocess.run(
        ssh_command(asyncssh_server, keys["ed25519"], "cat"),
        input=b"in" * 100_000,
        capture_output=True,
        timeout=10,
    )
    assert echoed.stdout == b"in" * 100_000


def test_asyncssh_oddities(asyncssh_server: AsyncSSHServer, keys: dict[str, Path]) -> None:
    silent = ssh(asyncssh_server, keys["ed25519"], "__no_exit_status__")
    assert (silent.stdout, silent.returncode) == ("some output\n", 255)
    killed = ssh(asyncssh_server, keys["ed25519"], "kill -KILL $$")
    assert killed.returncode == 255
    odd = ssh(asyncssh_server, keys["ed25519"], "__exit_signal__ TERM")
    assert (odd.stdout, odd.returncode) == ("some output\n", 255)


@pytest.mark.parametrize(
    ("step", "last_words"),
    [
        ("auth", "SSH2_MSG_SERVICE_ACCEPT received"),
        ("open", "Entering interactive session"),
        ("exec", "Sending command"),
    ],
)
def test_asyncssh_never_answers(
    asyncssh_with: Callable[..., AsyncSSHServer],
    keys: dict[str, Path],
    running: Callable[[list[str]], subprocess.Popen[bytes]],
    tmp_path: Path,
    step: str,
    last_words: str,
) -> None:
    server = asyncssh_with(hang=[step])
    log = tmp_path / "ssh.log"
    log.touch()
    program, *arguments = ssh_command(server, keys["ed25519"], "echo")
    client = running([program, "-v", "-E", str(log), *arguments])
    wait_until(lambda: last_words in log.read_text(), f"the client to say {last_words!r}")
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(0.3)


# Fakes


def first_bytes(port: int, count: int = 100) -> bytes:
    """What a server says at once; an empty answer is its end of file."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
        return connection.recv(count)


def test_fakes_say_what_they_should() -> None:
    with fakes.Silent() as silent, pytest.raises(TimeoutError):
        first_bytes(silent.port)
    with fakes.Garbage() as garbage:
        assert first_bytes(garbage.port).startswith(b"HTTP/1.1 400")
    with fakes.ClosesAtOnce() as closing:
        assert first_bytes(closing.port) == b""
    with fakes.ResetsAtOnce() as resetting, pytest.raises(ConnectionResetError):
        first_bytes(resetting.port)
    with fakes.Slow() as slow:
        assert first_bytes(slow.port) == b"p"
    assert silent.accepted == 1


@pytest.mark.parametrize("fake", [fakes.ClosesAfterBanner, fakes.BannerThenSilent])
def test_fakes_after_the_banner(fake: type[fakes.FakeServer]) -> None:
    with (
        fake() as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as connection,
    ):
        connection.sendall(b"SSH-2.0-test\r\n")
        assert connection.recv(100) == fakes.BANNER
        if fake is fakes.ClosesAfterBanner:
            assert connection.recv(100) == b""
        else:
            with pytest.raises(TimeoutError):
                connection.recv(100)
            assert server.received == b"SSH-2.0-test\r\n"


def test_never_accepts() -> None:
    with fakes.NeverAccepts() as server, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", server.port), timeout=0.3)


# Proxies


def test_proxy_passes_everything_on(sshd: OpenSSHServer, keys: dict[str, Path]) -> None:
    with CutProxy(sshd.host, sshd.port) as proxy:
        command = through(proxy, sshd, keys["ed25519"], "cat; exit 3")
        done = subprocess.run(command, input=b"x" * 3_000_000, capture_output=True, timeout=10)
        assert (len(done.stdout), done.returncode) == (3_000_000, 3)
        wait_until(lambda: proxy.connections == 0, "the end of the connection")
        assert proxy.accepted == 1


def test_proxy_cuts(
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    running: Callable[[list[str]], subprocess.Popen[bytes]],
) -> None:
    with CutProxy(sshd.host, sshd.port) as proxy:
        client = running(through(proxy, sshd, keys["ed25519"], "echo here; exec sleep 1000"))
        assert client.stdout is not None
        assert client.stdout.readline() == b"here\n"
        assert proxy.connections == 1
        proxy.cut()
        assert client.wait(10) == 255
        assert proxy.connections == 0


def test_proxy_cuts_after_some_bytes() -> None:
    with fakes.Garbage() as server, CutProxy("127.0.0.1", server.port) as proxy:
        # It shall be connected before it is cut, or it may be this that fails.
        proxy.stall()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            proxy.cut_after(5)
            proxy.resume()
            assert connection.recv(100) == b"HTTP/"
            with pytest.raises(ConnectionResetError):
                connection.recv(100)
        assert first_bytes(proxy.port).startswith(b"HTTP/1.1")


def test_proxy_half_closes() -> None:
    with (
        fakes.Silent() as server,
        CutProxy("127.0.0.1", server.port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection,
    ):
        wait_until(lambda: server.accepted == 1, "the connection")
        proxy.half_close()
        assert connection.recv(100) == b""
        connection.sendall(b"still open")
        wait_until(lambda: server.received == b"still open", "the bytes")


def test_proxy_stalls(
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    running: Callable[[list[str]], subprocess.Popen[bytes]],
) -> None:
    with CutProxy(sshd.host, sshd.port) as proxy:
        proxy.stall()
        client = running(through(proxy, sshd, keys["ed25519"], "echo here"))
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.3)
        proxy.resume()
        assert client.communicate(timeout=10)[0] == b"here\n"
        assert client.returncode == 0


def test_proxy_delays_each_direction(tmp_path: Path) -> None:
    with (
        fakes.BannerThenSilent() as server,
        DelayProxy(tmp_path, server.host, server.port, 0.1) as proxy,
        socket.create_connection((proxy.host, proxy.port), timeout=5) as connection,
    ):
        started = time.monotonic()
        assert connection.recv(100) == fakes.BANNER
        assert time.monotonic() - started > 0.09
        started = time.monotonic()
        connection.sendall(b"hello")
        wait_until(lambda: server.received == b"hello", "the bytes")
        assert time.monotonic() - started > 0.09


def test_delay_does_not_limit_throughput(
    sshd: OpenSSHServer, keys: dict[str, Path], tmp_path: Path
) -> None:
    with DelayProxy(tmp_path, sshd.host, sshd.port, 0.1) as proxy:
        command = through(proxy, sshd, keys["ed25519"], "head -c 20000000 /dev/zero")
        # 300 blocks, one after the other, would take 30 seconds; an SSH window of 2 MiB a round
        # trip, and the login, take 4.
        assert len(subprocess.check_output(command, timeout=25)) == 20_000_000
        assert re.search(r"^\[127\.0\.0\.1\]:", sshd.known_hosts.read_text())
