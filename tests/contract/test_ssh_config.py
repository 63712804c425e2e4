"""OpenSSH's client configuration: `ssh_config=True`, or the path of a file."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.config import HostConfig
from pssh.exceptions import (
    AuthenticationError,
    SSHConfigError,
    Timeout,
    UnknownHostKeyError,
)
from pssh.ssh_config import files
from pssh.ssh_config.files import Configuration
from tests.contract.conftest import Library
from tests.contract.outputs import lines
from tests.servers.openssh import OpenSSHServer

# What the server's account can read in its environment, and whether there is a terminal.
SHOW = 'echo "$PSSH_ONE, ${SSH_CONNECTION%% *}"; test -t 0 && echo terminal'


@pytest.fixture
def config(sshd: OpenSSHServer, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A configuration that knows the server as web1 and web2, and others that go wrong."""
    (tmp_path / "common").write_text(
        f"HostName {sshd.host}\nPort {sshd.port}\nUser {sshd.user}\n"
        f"IdentityFile {keys['unauthorized']}\nIdentityFile {keys['ed25519']}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {tmp_path}/none {sshd.known_hosts}\nGlobalKnownHostsFile none\n"
        "StrictHostKeyChecking yes\n"
    )
    path = tmp_path / "config"
    path.write_text(
        "Host web1 web2\n"
        f"  Include {tmp_path}/common\n"
        "  BindAddress 127.0.0.2\n"
        "  SetEnv PSSH_ONE=1 NOT_TAKEN=2\n"
        "  Compression yes\n"
        "  ConnectTimeout 50s\n"
        "  ServerAliveInterval 33\n"
        "  Ciphers rot13,aes256-ctr\n"
        "  KexAlgorithms +nonsense\n"
        "  HostKeyAlgorithms -ssh-ed25519,ecdsa-*\n"
        "  HashKnownHosts yes\n"
        "Host web2\n"
        "  RequestTTY force\n"
        "  AddKeysToAgent yes\n"
        "Host stranger\n"
        f"  Include {tmp_path}/common\n"
        "Match originalhost stranger user nobody\n"
        "  HostKeyAlias stranger\n"
        "Host rot13\n"
        "  Ciphers rot13\n"
        "Host wrong\n"
        "  Port x\n"
        "Host *\n"
        "  HostName no-such-host.invalid\n"
    )
    return path


def no_more(library: Library, **settings: Any) -> dict[str, Any]:
    """Settings for a single attempt that name nothing that is in the configuration."""
    return {"num_retries": 1, "allow_agent": False, **settings}


def test_all_that_is_needed_comes_from_the_file(
    library: Library, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = library.ParallelSSHClient(["web1", "web2"], **no_more(library, ssh_config=config))
    with caplog.at_level(logging.WARNING, "pssh"), client:
        outputs = client.run_command(SHOW)
        assert lines(outputs[0]) == ["1, 127.0.0.2"]
        assert lines(outputs[1]) == ["1, 127.0.0.2", "terminal"]
        assert [output.host for output in outputs] == ["web1", "web2"]
        for output in outputs:
            assert output.client is not None
            resolved = output.client.config
            assert (resolved.compress, resolved.connect_timeout) == (True, 50)
            assert (resolved.keepalive_seconds, resolved.ciphers) == (33, ["aes256-ctr"])
            assert resolved.kex_algorithms is None
            assert resolved.retry_delay == 5

    warned = [record.getMessage() for record in caplog.records if "no effect" in record.msg]
    assert sum("HashKnownHosts" in message for message in warned) == 1
    assert sum("AddKeysToAgent" in message for message in warned) == 1
    assert f"HashKnownHosts ({config} line 11)" in "".join(warned)


def test_arguments_win(library: Library, config: Path, keys: dict[str, Path]) -> None:
    settings = no_more(library, ssh_config=config, bind_address="127.0.0.3", ciphers=["aes128-ctr"])
    client = library.ParallelSSHClient(
        ["web1"] * 4,
        **settings,
        host_config=[
            HostConfig(),
            HostConfig(user="nobody", identity_auth=False, private_key=str(keys["ed25519"])),
            HostConfig(port=1),
            HostConfig(ssh_config=False, hostname="no-such-host.invalid"),
        ],
    )
    with client:
        outputs = client.run_command("echo ${SSH_CONNECTION%% *}", stop_on_errors=False)
        assert outputs[0].exception is None
        assert lines(outputs[0]) == ["127.0.0.3"]
        assert "user nobody" in str(outputs[1].exception)
        assert isinstance(outputs[1].exception, AuthenticationError)
        assert isinstance(outputs[2].exception, ConnectionRefusedError)
        assert "Unknown host no-such-host.invalid" in str(outputs[3].exception)
        assert client._clients[0] is not None
        assert client._clients[0].config.ciphers == ["aes128-ctr"]


def test_what_goes_wrong_stays_with_its_host(library: Library, config: Path) -> None:
    hosts = ["rot13", "wrong", "stranger", "elsewhere", "web1"]
    client = library.ParallelSSHClient(
        hosts,
        **no_more(library, ssh_config=config),
        host_config=[HostConfig(user="nobody") if h == "stranger" else HostConfig() for h in hosts],
    )
    with client:
        outputs = client.run_command("echo hello", stop_on_errors=False)
        errors = [output.exception for output in outputs]
        assert lines(outputs[-1]) == ["hello"]
    assert [type(error) for error in errors[:2]] == [SSHConfigError, SSHConfigError]
    assert "of the ciphers that it names (rot13) this client knows none" in str(errors[0])
    assert isinstance(errors[1], SSHConfigError)
    assert "configuration of host wrong: Port cannot be used" in str(errors[1])
    assert (errors[1].host, errors[1].path, errors[1].line) == ("wrong", str(config), 22)
    assert isinstance(errors[2], UnknownHostKeyError)
    assert "no-such-host.invalid" in str(errors[3])
    assert errors[3].host == "elsewhere"  # type: ignore[union-attr]


def test_a_file_that_cannot_be_used_is_found_out_at_construction(
    library: Library, tmp_path: Path
) -> None:
    with pytest.raises(SSHConfigError, match=r"There is no file .*missing"):
        library.ParallelSSHClient(["web1"], ssh_config=tmp_path / "missing")
    wrong = tmp_path / "config"
    wrong.write_text("# fine\nMatch sometimes\n")
    with pytest.raises(SSHConfigError, match=r"sometimes of Match .*config line 2"):
        library.SSHClient("web1", ssh_config=str(wrong))
    with pytest.raises(SSHConfigError, match="sometimes of Match"):
        library.ParallelSSHClient(["web1"], host_config=[HostConfig(ssh_config=wrong)])


def test_the_user_s_own_configuration(
    library: Library, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(files, "SYSTEM_FILE", str(tmp_path / "system"))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(f"Include {config}\n")
    (tmp_path / "system").write_text("Host web1\nServerAliveInterval 44\nServerAliveCountMax 5\n")

    with library.SSHClient("web1", **no_more(library, ssh_config=True)) as client:
        assert (client.config.keepalive_seconds, client.config.keepalive_count_max) == (33, 5)


def test_it_is_read_once_for_all_hosts(
    library: Library, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    load = files.load

    def loading(path: str) -> Configuration:
        read.append(path)
        return load(path)

    monkeypatch.setattr(files, "load", loading)
    client = library.ParallelSSHClient(
        ["web1"] * 3,
        **no_more(library, ssh_config=str(config)),
        host_config=[HostConfig(port=1), HostConfig(ssh_config=str(config)), HostConfig()],
    )
    with client:
        client.run_command("true", stop_on_errors=False)
    assert read == [str(config)]


def test_a_command_of_the_configuration_holds_nobody_up(
    library: Library, config: Path, tmp_path: Path
) -> None:
    """It ends when something has been written to a pipe, by a greenlet of this program."""
    pipe, runs = tmp_path / "pipe", tmp_path / "runs"
    os.mkfifo(pipe)
    text = config.read_text()
    waits = f'Match exec "echo run >>{runs}; read answer <{pipe}; test $answer = yes"\n'
    config.write_text(f"{waits}  RequestTTY force\n{text}")

    def answer() -> None:
        with pipe.open("w") as writing:
            writing.write("yes\n")

    client = library.ParallelSSHClient(["web1"] * 3, **no_more(library, ssh_config=config))
    with client:
        answering = gevent.spawn(gevent.get_hub().threadpool.apply, answer)
        outputs = client.run_command("test -t 0 && echo terminal")
        answering.get()
        assert [lines(output) for output in outputs] == [["terminal"]] * 3
    assert runs.read_text() == "run\n"


def test_a_command_that_takes_too_long(library: Library, config: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    config.write_text(f'Match exec "read answer <{pipe}"\n{config.read_text()}')
    with pytest.raises(Timeout, match="to read OpenSSH's configuration") as caught:
        library.SSHClient("web1", **no_more(library, ssh_config=config, timeout=0.1))
    assert caught.value.host == "web1"
    # Let the command end.
    with pipe.open("w") as writing:
        writing.write("\n")
