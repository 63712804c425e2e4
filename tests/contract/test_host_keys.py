"""Host keys: what is recorded, what is refused, and that OpenSSH agrees."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pssh import known_hosts_file
from pssh.clients.base import host_keys
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import (
    HostKeyError,
    HostKeyMismatchError,
    SSHError,
    Timeout,
    UnknownHostKeyError,
)
from tests.contract.access import access, wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import lines
from tests.servers.cut_proxy import CutProxy
from tests.servers.keys import create_key, known_hosts_lines, public_line
from tests.servers.openssh import OpenSSHServer

StartServer = Callable[..., OpenSSHServer]

KINDS = {
    "ed25519": "ssh-ed25519",
    "ecdsa": "ecdsa-sha2-nistp256",
    "rsa": "ssh-rsa",
}


def fingerprint(key: Path) -> str:
    """A key's fingerprint as ``ssh-keygen -l`` prints it."""
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()[1]


def host_key(server: OpenSSHServer, kind: str) -> Path:
    """One of a server's keys."""
    return server.host_key_paths[list(KINDS).index(kind)]


def line_of(server: OpenSSHServer, key: str, hosts: str = "") -> str:
    """A known_hosts line for a server.

    :param key: a key as ``<type> <base64>``.
    """
    return f"{hosts or f'[{server.host}]:{server.port}'} {key}\n"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key that no server has."""
    return create_key(tmp_path_factory.mktemp("stranger") / "key")


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    """Where a known_hosts file may be."""
    return tmp_path / "known_hosts"


def works(client: BaseSSHClient) -> bool:
    """Whether a client is connected for real."""
    return lines(client.run_command("echo hello")) == ["hello"]


def mismatch(library: Library, server: OpenSSHServer, **settings: Any) -> HostKeyMismatchError:
    """The error of a client that meets another key than the one on record."""
    with pytest.raises(HostKeyMismatchError) as caught:
        library.SSHClient(
            server.host, **access(server, **{"num_retries": 3, "retry_delay": 0, **settings})
        )
    return caught.value


# accept-new


def test_a_new_host_is_recorded(connect: Connect, sshd: OpenSSHServer, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "known_hosts"

    assert works(connect(known_hosts=str(path)))

    assert path.read_text() == line_of(sshd, public_line(host_key(sshd, "ed25519")))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700


def test_the_mode_does_not_depend_on_the_umask(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    before = os.umask(0)
    try:
        assert works(connect(known_hosts=str(path)))
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_accept_new_is_the_default(
    library: Library, connect: Connect, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    assert works(connect(known_hosts=str(known_hosts), host_key_policy="accept-new"))
    explicit = known_hosts.read_text()
    known_hosts.unlink()

    assert works(connect(known_hosts=str(known_hosts)))

    assert known_hosts.read_text() == explicit


def test_the_user_s_file_is_the_default(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = access(sshd, pkey=str(keys["ed25519"]))
    del settings["known_hosts"]

    with library.SSHClient(sshd.host, **settings) as client:
        assert works(client)
    path = tmp_path / ".ssh" / "known_hosts"
    assert path.read_text().count("\n") == 1
    assert path.parent.stat().st_mode & 0o777 == 0o700
    # And it is read.
    with library.SSHClient(sshd.host, **settings, host_key_policy="strict") as client:
        assert works(client)
    # So is its neighbour.
    path.rename(tmp_path / ".ssh" / "known_hosts2")
    with library.SSHClient(sshd.host, **settings, host_key_policy="strict") as client:
        assert works(client)


def test_a_file_in_the_home_folder(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert works(connect(known_hosts="~/of_my_own"))

    assert (tmp_path / "of_my_own").read_text().count("\n") == 1


def test_a_second_connection_finds_it_on_record(connect: Connect, known_hosts: Path) -> None:
    assert works(connect(known_hosts=str(known_hosts)))
    recorded = known_hosts.read_bytes()

    assert works(connect(known_hosts=str(known_hosts)))
    assert works(connect(known_hosts=known_hosts, host_key_policy="strict"))

    assert known_hosts.read_bytes() == recorded


def test_openssh_accepts_what_was_recorded(
    connect: Connect, sshd: OpenSSHServer, keys: dict[str, Path], known_hosts: Path
) -> None:
    connect(known_hosts=str(known_hosts))
    options = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
    }
    ran = subprocess.run(
        [
            *("ssh", "-F", "/dev/null", "-i", str(keys["ed25519"]), "-p", str(sshd.port)),
            *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
            *(f"{sshd.user}@{sshd.host}", "echo hello"),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
    )

    assert (ran.stdout, ran.returncode) == ("hello\n", 0), ran.stderr


def test_we_accept_what_openssh_recorded(
    connect: Connect, sshd: OpenSSHServer, keys: dict[str, Path], known_hosts: Path
) -> None:
    options = {
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "HashKnownHosts": "yes",
        "UpdateHostKeys": "no",
    }
    subprocess.run(
        [
            *("ssh", "-F", "/dev/null", "-i", str(keys["ed25519"]), "-p", str(sshd.port)),
            *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
            *(f"{sshd.user}@{sshd.host}", "true"),
        ],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
    )
    before = known_hosts.read_bytes()
    assert before.startswith(b"|1|")

    assert works(connect(known_hosts=str(known_hosts), host_key_policy="strict"))

    assert known_hosts.read_bytes() == before


def test_the_file_is_never_rewritten(
    connect: Connect, sshd: OpenSSHServer, stranger: Path, known_hosts: Path
) -> None:
    before = (
        "# a comment\n\n"
        "this line is no good\n"
        f"@cert-authority *.example {public_line(stranger)}\n"
        f"other.example,192.0.2.1 {public_line(stranger)} a comment"  # no newline at its end
    )
    known_hosts.write_text(before)
    known_hosts.chmod(0o644)
    inode = known_hosts.stat().st_ino

    assert works(connect(known_hosts=str(known_hosts)))

    added = line_of(sshd, public_line(host_key(sshd, "ed25519")))
    assert known_hosts.read_text() == f"{before}\n{added}"
    assert known_hosts.stat().st_ino == inode
    assert known_hosts.stat().st_mode & 0o777 == 0o644


def test_many_connections_to_a_new_host_record_it_once(
    connect_all: ConnectAll, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    client = connect_all(50, known_hosts=str(known_hosts))

    outputs = client.run_command("echo hello")

    assert [lines(out) for out in outputs] == [["hello"]] * 50
    assert known_hosts.read_text() == line_of(sshd, public_line(host_key(sshd, "ed25519")))


def test_a_name_and_an_address_are_recorded_each(
    connect_all: ConnectAll, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    client = connect_all(["127.0.0.1", "localhost", "LocalHost"], known_hosts=str(known_hosts))

    client.run_command("true")

    names = {line.split()[0] for line in known_hosts.read_text().splitlines()}
    assert names == {f"[127.0.0.1]:{sshd.port}", f"[localhost]:{sshd.port}"}
    assert known_hosts.read_text().count("\n") == 2


def test_a_key_recorded_meanwhile_counts(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    stranger: Path,
    known_hosts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parallel client that lives long sees what others write to the file."""
    monkeypatch.setattr(host_keys, "_FRESH_SECONDS", 0.0)
    client = library.ParallelSSHClient([sshd.host], **access(sshd, known_hosts=str(known_hosts)))
    known_hosts.write_text("")
    with client:
        client.run_command("true", stop_on_errors=False)
        known_hosts.write_text(line_of(sshd, public_line(stranger)))
        client.close()
        outputs = client.run_command("true", stop_on_errors=False)
    assert isinstance(outputs[0].exception, HostKeyMismatchError)


# Changed and revoked keys


def test_a_changed_key_is_refused(
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    stranger: Path,
    known_hosts: Path,
) -> None:
    content = "# first line\n" + line_of(sshd, public_line(stranger))
    known_hosts.write_text(content)
    pkey = str(keys["ed25519"])

    for policy in ("accept-new", "strict"):
        error = mismatch(
            library, sshd, known_hosts=str(known_hosts), host_key_policy=policy, pkey=pkey
        )
        assert isinstance(error, HostKeyError)
        assert isinstance(error, SSHError)
        assert (error.host, error.port) == (sshd.host, sshd.port)
        assert error.fingerprint == fingerprint(host_key(sshd, "ed25519"))
        assert error.known_fingerprint == fingerprint(stranger)
        assert (error.known_hosts, error.line) == (str(known_hosts), 2)
        assert error.key_type == "ssh-ed25519"
        for part in (
            f"{sshd.host}:{sshd.port}",
            fingerprint(host_key(sshd, "ed25519")),
            fingerprint(stranger),
            str(known_hosts),
            "line 2",
        ):
            assert part in str(error)
        assert "%s" not in str(error)
        assert known_hosts.read_text() == content


def test_nothing_is_sent_to_a_host_with_a_changed_key(
    library: Library, sshd_with: StartServer, stranger: Path, known_hosts: Path
) -> None:
    server = sshd_with({"LogLevel": "DEBUG1"})
    known_hosts.write_text(line_of(server, public_line(stranger)))

    mismatch(library, server, known_hosts=str(known_hosts), password="the password")

    log = wait_for_log(server, r"(?m)^(Connection (closed|reset)|Received disconnect)")
    assert "userauth-request" not in log
    # The key is not going to be another one the next time.
    assert log.count("Connection from") == 1


def test_ignore_accepts_a_changed_key_and_records_nothing(
    connect: Connect, sshd: OpenSSHServer, stranger: Path, known_hosts: Path
) -> None:
    content = line_of(sshd, public_line(stranger))
    known_hosts.write_text(content)

    assert works(connect(known_hosts=str(known_hosts), host_key_policy="ignore"))
    assert known_hosts.read_text() == content
    known_hosts.unlink()
    assert works(connect(known_hosts=str(known_hosts), host_key_policy="ignore"))
    assert not known_hosts.exists()


def test_a_revoked_key_is_refused(library: Library, sshd: OpenSSHServer, known_hosts: Path) -> None:
    key = public_line(host_key(sshd, "ed25519"))
    revoked = f"@revoked * {key}\n"
    for content, line in ((revoked, 1), (line_of(sshd, key) + revoked, 2)):
        known_hosts.write_text(content)
        for policy in ("accept-new", "strict"):
            error = mismatch(
                library,
                sshd,
                known_hosts=str(known_hosts),
                host_key_policy=policy,
                host_key_algorithms=["ssh-ed25519"],
            )
            assert "revoked" in str(error)
            assert error.fingerprint == fingerprint(host_key(sshd, "ed25519"))
            assert (error.known_hosts, error.line) == (str(known_hosts), line)
        assert known_hosts.read_text() == content


def test_a_changed_key_of_one_host_is_that_host_s(
    connect_all: ConnectAll, sshd: OpenSSHServer, stranger: Path, known_hosts: Path
) -> None:
    known_hosts.write_text(line_of(sshd, public_line(stranger), hosts=f"[localhost]:{sshd.port}"))
    client = connect_all(["127.0.0.1", "localhost"], known_hosts=str(known_hosts))

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert lines(outputs[0]) == ["hello"]
    assert isinstance(outputs[1].exception, HostKeyMismatchError)


# strict


def test_strict_refuses_an_unknown_host(
    library: Library, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    with pytest.raises(UnknownHostKeyError) as caught:
        library.SSHClient(
            sshd.host,
            **access(sshd, known_hosts=str(known_hosts), host_key_policy="strict"),
        )

    error = caught.value
    assert isinstance(error, HostKeyError)
    assert (error.host, error.port) == (sshd.host, sshd.port)
    assert error.key_type == "ssh-ed25519"
    assert error.fingerprint == fingerprint(host_key(sshd, "ed25519"))
    for part in (f"{sshd.host}:{sshd.port}", error.fingerprint, str(known_hosts), "strict"):
        assert part in str(error)
    assert not known_hosts.exists()


# Files


def test_several_files(
    connect: Connect, library: Library, sshd: OpenSSHServer, stranger: Path, tmp_path: Path
) -> None:
    missing, other, own = (tmp_path / name for name in ("missing", "other", "own"))
    other.write_text(line_of(sshd, public_line(stranger), hosts="other.example"))
    own.write_text(line_of(sshd, public_line(host_key(sshd, "ed25519"))))
    files = [str(missing), other, str(own)]

    assert works(connect(known_hosts=files, host_key_policy="strict"))
    assert works(connect(known_hosts=tuple(files)))
    assert not missing.exists()
    # What is in any of them counts.
    own.write_text(line_of(sshd, public_line(stranger)))
    error = mismatch(library, sshd, known_hosts=files)
    assert (error.known_hosts, error.line) == (str(own), 1)


def test_new_keys_go_to_the_first_file(
    connect: Connect, sshd: OpenSSHServer, stranger: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text(line_of(sshd, public_line(stranger), hosts="other.example"))
    before = second.read_bytes()

    assert works(connect(known_hosts=[str(first), str(second)]))

    assert first.read_text().count("\n") == 1
    assert second.read_bytes() == before


def test_a_hashed_file(
    connect: Connect, library: Library, sshd: OpenSSHServer, stranger: Path, known_hosts: Path
) -> None:
    known_hosts.write_text(line_of(sshd, public_line(host_key(sshd, "ecdsa"))))
    subprocess.run(
        ["ssh-keygen", "-q", "-H", "-f", str(known_hosts)], check=True, capture_output=True
    )
    assert known_hosts.read_bytes().startswith(b"|1|")

    assert works(connect(known_hosts=str(known_hosts), host_key_policy="strict"))
    known_hosts.write_text(line_of(sshd, public_line(stranger)))
    subprocess.run(
        ["ssh-keygen", "-q", "-H", "-f", str(known_hosts)], check=True, capture_output=True
    )
    assert mismatch(library, sshd, known_hosts=str(known_hosts)).line == 1


def test_patterns(
    connect: Connect, library: Library, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    key = public_line(host_key(sshd, "ed25519"))
    known_hosts.write_text(line_of(sshd, key, hosts=f"[127.0.0.?]:{sshd.port},!x*"))

    assert works(connect(known_hosts=str(known_hosts), host_key_policy="strict"))
    known_hosts.write_text(line_of(sshd, key, hosts=f"[127.*]:*,![127.0.0.1]:{sshd.port}"))
    with pytest.raises(UnknownHostKeyError):
        connect(known_hosts=str(known_hosts), host_key_policy="strict")


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_is_known_by_one_of_its_keys(
    connect: Connect, sshd: OpenSSHServer, known_hosts: Path, kind: str
) -> None:
    """The server has all three, and has to be asked for the one on record."""
    content = line_of(sshd, public_line(host_key(sshd, kind)))
    known_hosts.write_text(content)

    for policy in ("strict", "accept-new"):
        assert works(connect(known_hosts=str(known_hosts), host_key_policy=policy))
    assert known_hosts.read_text() == content


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_with_one_key(
    connect: Connect,
    sshd_with: StartServer,
    keys: dict[str, Path],
    known_hosts: Path,
    kind: str,
) -> None:
    server = sshd_with(host_keys=(keys["host_rsa"] if kind == "rsa" else kind,))

    assert works(connect(server, known_hosts=str(known_hosts)))

    assert known_hosts.read_text() == line_of(server, public_line(server.host_key_paths[0]))
    assert works(connect(server, known_hosts=str(known_hosts), host_key_policy="strict"))


def test_a_key_of_another_type_than_on_record_is_a_changed_key(
    library: Library, sshd_with: StartServer, stranger: Path, known_hosts: Path
) -> None:
    server = sshd_with(host_keys=("ecdsa",))
    known_hosts.write_text(line_of(server, public_line(stranger)))

    error = mismatch(library, server, known_hosts=str(known_hosts))

    assert error.key_type == "ecdsa-sha2-nistp256"
    assert error.known_fingerprint == fingerprint(stranger)


def test_the_key_of_port_22_counts_for_other_ports(
    connect: Connect, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    """As with OpenSSH, where nothing is on record for the port."""
    content = line_of(sshd, public_line(host_key(sshd, "rsa")), hosts=sshd.host)
    known_hosts.write_text(content)

    assert works(connect(known_hosts=str(known_hosts), host_key_policy="strict"))
    assert known_hosts.read_text() == content


def test_a_proxy_s_port_is_another_host(
    connect: Connect, sshd: OpenSSHServer, known_hosts: Path
) -> None:
    known_hosts.write_text(known_hosts_lines([(sshd.host, sshd.port)], sshd.host_key_lines))
    with CutProxy(sshd.host, sshd.port) as proxy:
        with pytest.raises(UnknownHostKeyError):
            connect(port=proxy.port, known_hosts=str(known_hosts), host_key_policy="strict")
        assert works(connect(port=proxy.port, known_hosts=str(known_hosts)))
        assert f"[{sshd.host}]:{proxy.port} " in known_hosts.read_text()


def test_an_unreadable_file_is_an_error(
    library: Library, connect_all: ConnectAll, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    """Going on would accept a changed key. A folder cannot be read by root either."""
    with pytest.raises(HostKeyError) as caught:
        library.SSHClient(sshd.host, **access(sshd, known_hosts=[str(tmp_path)]))
    outputs = connect_all(2, known_hosts=str(tmp_path)).run_command("true", stop_on_errors=False)

    for error in (caught.value, *(out.exception for out in outputs)):
        assert isinstance(error, HostKeyError)
        assert str(tmp_path) in str(error)
        assert "directory" in str(error)
        assert (error.host, error.port) == (sshd.host, sshd.port)


@pytest.fixture
def warnings_of_the_library(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings that the library has logged."""
    caplog.set_level(logging.DEBUG, "pssh")
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_file_that_cannot_be_written_is_a_warning(
    connect: Connect,
    tmp_path: Path,
    warnings_of_the_library: Callable[[], list[str]],
    sshd: OpenSSHServer,
) -> None:
    # As root we may write to any folder but those of the kernel.
    dangling = tmp_path / "dangling"
    dangling.symlink_to("/proc/no/such/folder/known_hosts")

    assert works(connect(known_hosts=str(dangling)))

    (warning,) = warnings_of_the_library()
    assert f"{sshd.host}:{sshd.port}" in warning
    assert "recorded" in warning
    assert "/proc/no" in warning


def test_no_file_at_all(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    warnings_of_the_library: Callable[[], list[str]],
) -> None:
    assert works(connect(known_hosts=[]))

    (warning,) = warnings_of_the_library()
    assert "known_hosts" in warning
    with pytest.raises(UnknownHostKeyError):
        connect(known_hosts=[], host_key_policy="strict")


def test_a_full_disk_is_a_warning(
    connect: Connect,
    warnings_of_the_library: Callable[[], list[str]],
    known_hosts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: str, _: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(known_hosts_file, "append", full)

    assert works(connect(known_hosts=str(known_hosts)))

    (warning,) = warnings_of_the_library()
    assert "No space left on device" in warning
    assert str(known_hosts) in warning


def test_recording_is_logged(
    connect: Connect, sshd: OpenSSHServer, known_hosts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pssh")

    connect(known_hosts=str(known_hosts))

    assert f"{sshd.host}:{sshd.port}" in caplog.text
    assert "ssh-ed25519" in caplog.text


def test_the_index_is_shared_by_the_hosts_of_a_client(
    connect_all: ConnectAll,
    sshd: OpenSSHServer,
    known_hosts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file is not read for each host."""
    known_hosts.write_text(line_of(sshd, public_line(host_key(sshd, "ed25519"))))
    read: list[object] = []
    load = known_hosts_file.read

    def counted(path: str) -> Any:
        read.append(path)
        return load(path)

    monkeypatch.setattr(known_hosts_file, "read", counted)
    client = connect_all(20, known_hosts=str(known_hosts))

    client.run_command("true")

    assert len(read) == 1


def test_a_lock_that_is_never_given_back(
    library: Library, sshd: OpenSSHServer, keys: dict[str, Path], tmp_path: Path
) -> None:
    """Somebody else has the file: the time-out holds for that step too."""
    path = tmp_path / "known_hosts"
    with path.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Timeout) as caught:
            settings = access(sshd, pkey=str(keys["ed25519"]), known_hosts=str(path), timeout=1)
            library.SSHClient(sshd.host, **settings)
    assert caught.value.step == "check the host key"
    assert caught.value.host == sshd.host
