"""Settings: their names, defaults and checks, how they merge, and what cannot be asked for."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pssh.clients import native
from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.single import BaseSSHClient
from pssh.config import HostConfig
from pssh.constants import DEFAULT_RETRIES, RETRY_DELAY
from pssh.exceptions import (
    AuthenticationError,
    HostConfigError,
    InvalidAPIUseError,
    PKeyFileError,
    UnknownHostKeyError,
)
from tests.contract.access import wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library, Settings, SettingsFor
from tests.contract.outputs import eventually, lines, stdout
from tests.servers.account import Account
from tests.servers.openssh import OpenSSHServer
from tests.servers.process import free_port

SECRET = "hunter2-do-not-show"

DEFAULTS = {
    "user": None,
    "password": None,
    "port": 22,
    "private_key": None,
    "cert_file": None,
    "alias": None,
    "num_retries": 3,
    "retry_delay": 5,
    "timeout": None,
    "allow_agent": True,
    "identity_auth": True,
    "keyboard_interactive": False,
    "gssapi_auth": False,
    "gssapi_server_identity": None,
    "gssapi_client_identity": None,
    "gssapi_delegate_credentials": False,
    "forward_ssh_agent": False,
    "compress": False,
    "ipv6_only": False,
    "keepalive_seconds": 60,
    "proxy_host": None,
    "proxy_port": None,
    "proxy_user": None,
    "proxy_password": None,
    "proxy_pkey": None,
    "proxy_jump": None,
    "proxy_command": None,
    "proxy_max_targets": None,
    "host_key_policy": "accept-new",
    "known_hosts": (
        "~/.ssh/known_hosts",
        "~/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_known_hosts2",
    ),
    "ciphers": None,
    "macs": None,
    "kex_algorithms": None,
    "host_key_algorithms": None,
    "ssh_config": False,
    "agent": None,
    "hostname": None,
    "host_key_alias": None,
    "address_family": "any",
    "bind_address": None,
    "connect_timeout": None,
    "keepalive_count_max": 3,
    "identity_files": None,
    "identities_only": False,
    "identity_agent": None,
    "certificate_files": None,
    "public_key_algorithms": None,
    "set_env": None,
    "use_pty": False,
}

#: The order in which 2.16 takes its parameters, by client library.
SINGLE_ORDER = {
    "native": (
        *("host", "user", "password", "port", "pkey", "alias", "num_retries", "retry_delay"),
        *("allow_agent", "timeout", "forward_ssh_agent", "proxy_host", "proxy_port"),
        *("proxy_pkey", "proxy_user", "proxy_password", "_auth_thread_pool"),
        *("keepalive_seconds", "identity_auth", "ipv6_only", "compress", "keyboard_interactive"),
    ),
    "ssh": (
        *("host", "user", "password", "port", "pkey", "alias", "cert_file", "num_retries"),
        *("retry_delay", "allow_agent", "timeout", "identity_auth", "gssapi_auth"),
        *("gssapi_server_identity", "gssapi_client_identity", "gssapi_delegate_credentials"),
        *("ipv6_only", "compress", "_auth_thread_pool"),
    ),
}
PARALLEL_ORDER = {
    "native": (
        *("hosts", "user", "password", "port", "pkey", "num_retries", "timeout", "pool_size"),
        *("allow_agent", "host_config", "retry_delay", "proxy_host", "proxy_port", "proxy_user"),
        *("proxy_password", "proxy_pkey", "forward_ssh_agent", "keepalive_seconds"),
        *("identity_auth", "ipv6_only", "compress", "keyboard_interactive"),
    ),
    "ssh": (
        *("hosts", "user", "password", "port", "pkey", "cert_file", "num_retries", "timeout"),
        *("pool_size", "allow_agent", "host_config", "retry_delay", "forward_ssh_agent"),
        *("gssapi_auth", "gssapi_server_identity", "gssapi_client_identity"),
        *("gssapi_delegate_credentials", "identity_auth", "ipv6_only", "compress"),
    ),
}
HOST_CONFIG_ORDER = (
    *("user", "port", "password", "private_key", "allow_agent", "alias", "num_retries"),
    *("retry_delay", "timeout", "identity_auth", "proxy_host", "proxy_port", "proxy_user"),
    *("proxy_password", "proxy_pkey", "keepalive_seconds", "ipv6_only", "cert_file"),
    *("auth_thread_pool", "gssapi_auth", "gssapi_server_identity", "gssapi_client_identity"),
    *("gssapi_delegate_credentials", "forward_ssh_agent", "compress", "keyboard_interactive"),
)

#: What a constructor calls differently from HostConfig.
ARGUMENTS = {"private_key": "pkey", "auth_thread_pool": "_auth_thread_pool"}

BAD_VALUES = [
    ("user", 5),
    ("user", ""),
    ("user", b"bytes"),
    ("password", 1234),
    ("password", SECRET.encode()),
    ("port", 0),
    ("port", 65536),
    ("port", -1),
    ("port", "22"),
    ("port", 22.0),
    ("port", True),
    ("private_key", 5),
    ("private_key", ""),
    ("private_key", b""),
    ("alias", 5),
    ("num_retries", 0),
    ("num_retries", -1),
    ("num_retries", 1.5),
    ("num_retries", True),
    ("retry_delay", -1),
    ("retry_delay", "5"),
    ("timeout", -0.1),
    ("timeout", "10"),
    ("timeout", float("nan")),
    ("allow_agent", 1),
    ("allow_agent", "no"),
    ("identity_auth", "yes"),
    ("keyboard_interactive", "a password"),
    ("forward_ssh_agent", 1),
    ("compress", 6),
    ("ipv6_only", "yes"),
    ("keepalive_seconds", -1),
    ("keepalive_seconds", True),
    ("keepalive_seconds", "60"),
    ("host_key_policy", "no"),
    ("host_key_policy", True),
    ("known_hosts", 5),
    ("known_hosts", [5]),
    ("ciphers", "aes128-ctr"),
    ("ciphers", []),
    ("ciphers", ["aes128-ctr,aes256-ctr"]),
    ("macs", [5]),
    ("kex_algorithms", [""]),
    ("host_key_algorithms", b"ssh-ed25519"),
    ("proxy_host", 5),
    ("proxy_port", 0),
    ("proxy_password", 5),
    ("proxy_pkey", 5),
    ("proxy_jump", 5),
    ("proxy_jump", []),
    ("proxy_jump", [("bastion", "settings")]),
    ("proxy_max_targets", 0),
    ("proxy_command", ["nc"]),
    ("cert_file", 5),
    ("ssh_config", 5),
    ("gssapi_auth", "yes"),
    ("buffer_size", 0),
    ("buffer_overflow", "drop"),
]

#: What libssh2 cannot do.
GSSAPI = {
    "gssapi_auth": True,
    "gssapi_server_identity": "host@REALM",
    "gssapi_client_identity": "user@REALM",
    "gssapi_delegate_credentials": True,
}


def as_argument(name: str) -> str:
    """What a client's constructor calls a setting."""
    return ARGUMENTS.get(name, name)


# Defaults


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_default(name: str, default: Any) -> None:
    assert getattr(HostConfig(), name) is None
    assert getattr(HostConfig().with_defaults(), name) == default


def test_default_constants() -> None:
    assert DEFAULT_RETRIES == 3
    assert RETRY_DELAY == 5


def test_defaults_of_a_parallel_client(library: Library) -> None:
    client = library.ParallelSSHClient(["localhost"])

    assert client.pool_size == 100
    assert client.host_config is None


def test_the_user_is_the_one_who_runs_the_program(
    library: Library, monkeypatch: pytest.MonkeyPatch, settings: Settings, sshd: OpenSSHServer
) -> None:
    del settings["user"]
    monkeypatch.setenv("LOGNAME", "login-of-this-test")

    with pytest.raises(AuthenticationError, match="login-of-this-test"):
        library.SSHClient(sshd.host, **settings)


# The constructors


def test_positional_arguments_come_in_the_order_of_2_x(library: Library) -> None:
    single = list(inspect.signature(library.SSHClient).parameters)
    parallel = list(inspect.signature(library.ParallelSSHClient).parameters)

    assert tuple(single[: len(SINGLE_ORDER[library.name])]) == SINGLE_ORDER[library.name]
    assert tuple(parallel[: len(PARALLEL_ORDER[library.name])]) == PARALLEL_ORDER[library.name]


def test_the_defaults_are_shown_to_who_asks_for_help(library: Library) -> None:
    single = inspect.signature(library.SSHClient).parameters
    parallel = inspect.signature(library.ParallelSSHClient).parameters

    for shown in (single, parallel):
        assert [shown[name].default for name in ("port", "num_retries")] == [22, 3]
        assert (shown["allow_agent"].default, shown["timeout"].default) == (True, None)
        assert shown["host_key_policy"].default == "accept-new"
    assert parallel["pool_size"].default == 100


def test_positional_arguments_of_host_config_come_in_the_order_of_2_x() -> None:
    names = [field.name for field in dataclasses.fields(HostConfig)]

    assert tuple(names[: len(HOST_CONFIG_ORDER)]) == HOST_CONFIG_ORDER
    assert HostConfig("me", 2222, "secret", "key", False).allow_agent is False


def test_positional_arguments_reach_the_settings(
    library: Library, sshd: OpenSSHServer, settings: Settings
) -> None:
    given = {
        **settings,
        "host": sshd.host,
        "alias": "an alias",
        "num_retries": 1,
        "retry_delay": 0,
        "timeout": 20,
        "keepalive_seconds": 30,
    }
    order = SINGLE_ORDER[library.name][: SINGLE_ORDER[library.name].index("timeout") + 1]
    arguments: list[Any] = [given.get(name) for name in order]

    with library.SSHClient(*arguments, known_hosts=settings["known_hosts"]) as client:
        assert (client.host, client.user, client.port) == (sshd.host, sshd.user, sshd.port)
        assert client.alias == "an alias"
        assert client.config.timeout == 20
        assert lines(client.run_command("echo hello")) == ["hello"]


def test_positional_arguments_reach_the_settings_of_a_parallel_client(
    library: Library, sshd: OpenSSHServer, settings: Settings
) -> None:
    host_config = [HostConfig(alias="one"), HostConfig(alias="two")]
    given = {**settings, "hosts": [sshd.host] * 2, "pool_size": 7, "host_config": host_config}
    order = PARALLEL_ORDER[library.name][: PARALLEL_ORDER[library.name].index("host_config") + 1]
    arguments: list[Any] = [given.get(name) for name in order]

    with library.ParallelSSHClient(*arguments, known_hosts=settings["known_hosts"]) as client:
        assert client.pool_size == 7
        outputs = client.run_command("echo hello")
        assert [(out.alias, lines(out)) for out in outputs] == [
            ("one", ["hello"]),
            ("two", ["hello"]),
        ]


def test_every_setting_is_an_argument_of_both_clients(library: Library) -> None:
    for field in dataclasses.fields(HostConfig):
        name = as_argument(field.name)
        assert name in inspect.signature(library.SSHClient).parameters
        if name not in ("alias", "_auth_thread_pool"):
            assert name in inspect.signature(library.ParallelSSHClient).parameters


def test_an_unknown_setting_is_a_type_error(library: Library) -> None:
    with pytest.raises(TypeError, match="no_such_setting"):
        library.SSHClient("localhost", no_such_setting=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no_such_setting"):
        library.ParallelSSHClient(["localhost"], no_such_setting=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no_such_setting"):
        HostConfig(no_such_setting=1)  # type: ignore[call-arg]


def test_a_setting_given_twice_is_a_type_error(library: Library) -> None:
    with pytest.raises(TypeError, match="user"):
        library.SSHClient("localhost", "me", user="you")
    with pytest.raises(TypeError, match="user"):
        library.ParallelSSHClient(["localhost"], "me", user="you")
    with pytest.raises(TypeError, match="host"):
        library.SSHClient("localhost", host="other")  # type: ignore[misc]


def test_too_many_positional_arguments_are_a_type_error(library: Library) -> None:
    with pytest.raises(TypeError, match="positional"):
        library.SSHClient("localhost", *[None] * 40)
    with pytest.raises(TypeError, match="positional"):
        library.ParallelSSHClient(["localhost"], *[None] * 40)


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_is_a_value_error(library: Library, name: str, value: Any) -> None:
    argument = as_argument(name)
    calls: list[Callable[[], object]] = [
        lambda: HostConfig(**{name: value}),
        lambda: library.SSHClient("localhost", **{argument: value}),
        lambda: library.ParallelSSHClient(["localhost"], **{argument: value}),
    ]
    for call in calls:
        with pytest.raises(
            ValueError, match=re.compile(rf"^({name}|{argument}) must be")
        ) as caught:
            call()
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("pool_size", [0, -1, "10", 2.5])
def test_a_bad_pool_size_is_a_value_error(library: Library, pool_size: Any) -> None:
    with pytest.raises(ValueError, match="pool_size"):
        library.ParallelSSHClient(["localhost"], pool_size=pool_size)


def test_host_config_does_not_show_secrets(
    connect: Connect, keys: dict[str, Path], library: Library
) -> None:
    config = HostConfig(
        user="me",
        password=SECRET,
        proxy_password=SECRET,
        private_key=f"-----BEGIN PRIVATE KEY-----{SECRET}".encode(),
        port=2222,
    )
    client = connect(password=SECRET, pkey=keys["ed25519"].read_bytes())
    parallel = library.ParallelSSHClient(
        ["localhost"], password=SECRET, host_config=[HostConfig(password=SECRET)]
    )
    secret_line = keys["ed25519"].read_text().splitlines()[3]

    for shown in (config, client, client.config, parallel, client._target()):
        for text in (repr(shown), str(shown)):
            assert SECRET not in text
            assert secret_line not in text
    assert "user='me'" in repr(config)
    assert "port=2222" in repr(config)
    assert "password" in repr(config)


# Merging


def test_unset_settings_take_the_client_s_value() -> None:
    client = HostConfig(user="me", port=2222, timeout=10, allow_agent=True, keepalive_seconds=30)
    host = HostConfig(port=2200, timeout=0, allow_agent=False, keepalive_seconds=False)

    merged = host.over(client)

    assert merged.user == "me"
    assert merged.port == 2200
    assert merged.timeout == 0
    assert merged.allow_agent is False
    assert merged.keepalive_seconds is False
    assert merged.password is None
    assert (host.user, client.port) == (None, 2222)


def test_host_config_wins_over_the_client(
    connect_all: ConnectAll, sshd: OpenSSHServer, keys: dict[str, Path]
) -> None:
    client = connect_all(
        4,
        user="nobody-of-this-name",
        pkey=str(keys["unauthorized"]),
        port=free_port(),
        alias="of the client",
        host_config=[
            HostConfig(user=sshd.user, port=sshd.port, private_key=str(keys["rsa"])),
            HostConfig(user=sshd.user, port=sshd.port, private_key=keys["ecdsa"].read_bytes()),
            HostConfig(user=sshd.user, port=sshd.port, alias="own"),
            HostConfig(),
        ],
    )

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert [lines(out) for out in outputs[:2]] == [["hello"], ["hello"]]
    assert isinstance(outputs[2].exception, AuthenticationError)  # with the client's key
    assert isinstance(outputs[3].exception, ConnectionRefusedError)  # at the client's port
    assert [out.alias for out in outputs] == ["of the client"] * 2 + ["own", "of the client"]


def test_false_in_host_config_wins_over_true(
    connect_all: ConnectAll,
    keys: dict[str, Path],
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library.SSHClient, "IDENTITIES", (str(keys["ed25519"]),))
    client = connect_all(
        2,
        pkey=None,
        identity_auth=True,
        host_config=[HostConfig(), HostConfig(identity_auth=False)],
    )

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert lines(outputs[0]) == ["hello"]
    assert isinstance(outputs[1].exception, AuthenticationError)


def test_every_host_may_have_its_own_known_hosts_and_policy(
    connect_all: ConnectAll, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    client = connect_all(
        3,
        known_hosts=str(tmp_path / "nothing"),
        host_key_policy="strict",
        host_config=[
            HostConfig(known_hosts=[str(sshd.known_hosts)]),
            HostConfig(host_key_policy="ignore"),
            HostConfig(),
        ],
    )

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert [lines(out) for out in outputs[:2]] == [["hello"], ["hello"]]
    assert isinstance(outputs[2].exception, UnknownHostKeyError)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_host_config_of_another_length_is_a_value_error(library: Library, count: int) -> None:
    with pytest.raises(ValueError, match="2 hosts"):
        library.ParallelSSHClient(["a", "b"], host_config=[HostConfig()] * count)


@pytest.mark.parametrize("entry", [{"user": "me"}, "me", None])
def test_host_config_of_another_type_is_a_host_config_error(library: Library, entry: Any) -> None:
    with pytest.raises(HostConfigError, match="HostConfig") as caught:
        library.ParallelSSHClient(["a", "b"], host_config=[HostConfig(), entry])
    assert "1" in str(caught.value)


# Private keys


def test_a_missing_key_file_is_found_out_at_construction(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "no_key"
    calls: list[Callable[[], object]] = [
        lambda: library.SSHClient("no-such-host.invalid", pkey=str(path)),
        lambda: library.ParallelSSHClient(["no-such-host.invalid"], pkey=str(path)),
        lambda: library.ParallelSSHClient(
            ["no-such-host.invalid"], host_config=[HostConfig(private_key=str(path))]
        ),
    ]
    for call in calls:
        with pytest.raises(PKeyFileError, match="no_key") as caught:
            call()
        # The format that 2.x has.
        assert caught.value.args[1] == str(path)


def test_a_key_file_that_cannot_be_read_is_found_out_at_construction(
    library: Library, tmp_path: Path
) -> None:
    with pytest.raises(PKeyFileError, match=re.escape(str(tmp_path))) as caught:
        library.SSHClient("no-such-host.invalid", pkey=str(tmp_path))  # a folder
    assert "directory" in str(caught.value)


@pytest.mark.parametrize("form", [str, Path, Path.read_bytes])
def test_forms_of_a_key(
    connect: Connect, connect_all: ConnectAll, keys: dict[str, Path], form: Callable[[Path], Any]
) -> None:
    pkey = form(keys["ed25519"])

    assert lines(connect(pkey=pkey).run_command("echo one")) == ["one"]
    assert lines(connect_all(1, pkey=pkey).run_command("echo two")[0]) == ["two"]


def test_a_key_in_the_home_folder(
    connect: Connect, connect_all: ConnectAll, keys: dict[str, Path], home: Path
) -> None:
    shutil.copy(keys["ed25519"], home / "a_key")

    assert lines(connect(pkey="~/a_key").run_command("echo one")) == ["one"]
    config = [HostConfig(private_key="~/a_key")]
    client = connect_all(1, pkey=None, host_config=config)
    assert lines(client.run_command("echo two")[0]) == ["two"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of this test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_a_common_key_is_read_once(
    connect_all: ConnectAll, keys: dict[str, Path], tmp_path: Path
) -> None:
    path = Path(shutil.copy(keys["ed25519"], tmp_path / "key"))
    other = Path(shutil.copy(keys["rsa"], tmp_path / "other"))
    client = connect_all(
        3,
        pkey=str(path),
        host_config=[HostConfig(), HostConfig(private_key=str(other)), HostConfig()],
    )
    # Whoever looked a second time would not find it.
    path.unlink()
    other.unlink()

    outputs = client.run_command("echo hello")

    assert [lines(out) for out in outputs] == [["hello"]] * 3


# What is accepted and does nothing, and what cannot be asked for


def test_auth_thread_pool_is_deprecated(
    library: Library, sshd: OpenSSHServer, settings: Settings
) -> None:
    with pytest.warns(DeprecationWarning, match="auth_thread_pool") as warned:
        client = library.SSHClient(sshd.host, _auth_thread_pool=True, **settings)

    # Python shows it to the author of the script alone: it has to be put down to the script.
    assert [warning.filename for warning in warned] == [__file__]
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_auth_thread_pool_is_deprecated_in_host_config() -> None:
    with pytest.warns(DeprecationWarning, match="auth_thread_pool") as warned:
        HostConfig(auth_thread_pool=False)

    assert [warning.filename for warning in warned] == [__file__]


def test_no_other_setting_warns(library: Library, sshd: OpenSSHServer, settings: Settings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.SSHClient(sshd.host, **settings).close()
        library.ParallelSSHClient([sshd.host], host_config=[HostConfig()], **settings).close()


@pytest.mark.parametrize(("name", "value"), GSSAPI.items())
def test_what_the_native_client_cannot_do_is_refused(name: str, value: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: native.SSHClient("no-such-host.invalid", num_retries=1, **{name: value}),
        lambda: native.ParallelSSHClient(["no-such-host.invalid"], **{name: value}),
        lambda: native.ParallelSSHClient(
            ["no-such-host.invalid"], host_config=[HostConfig(**{name: value})]
        ),
    ]
    for call in calls:
        with pytest.raises(InvalidAPIUseError, match=rf"{name}.*pssh\.clients\.ssh\b"):
            call()


def test_switching_off_what_cannot_be_done_is_fine(connect: Connect) -> None:
    client = connect(
        proxy_host=None,
        proxy_jump=None,
        proxy_command=None,
        ssh_config=False,
        forward_ssh_agent=False,
        gssapi_auth=False,
        gssapi_delegate_credentials=False,
    )

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_keyboard_interactive_needs_a_password(
    library: Library, connect_all: ConnectAll, settings: Settings, sshd: OpenSSHServer
) -> None:
    with pytest.raises(InvalidAPIUseError, match=r"keyboard_interactive.*password"):
        library.SSHClient(sshd.host, **{**settings, "keyboard_interactive": True})
    with pytest.raises(InvalidAPIUseError, match=r"keyboard_interactive.*password"):
        connect_all(1, keyboard_interactive=True).run_command("true")


# Algorithms


@pytest.fixture(scope="module")
def talkative(
    tmp_path_factory: pytest.TempPathFactory,
    account: Account,
    keys: dict[str, Path],
    authorized_keys: list[Path],
) -> Iterator[OpenSSHServer]:
    """A server that logs which algorithms were offered and chosen, and how much was sent."""
    with OpenSSHServer(
        tmp_path_factory.mktemp("sshd"),
        account=account,
        options={
            "LogLevel": "DEBUG2",
            "Ciphers": "+aes128-cbc",
            "MACs": "+hmac-sha1",
            "KexAlgorithms": "+diffie-hellman-group14-sha1",
        },
        host_keys=("ed25519", "ecdsa", keys["host_rsa"]),
        authorized_keys=authorized_keys,
    ) as server:
        yield server


def test_what_openssh_prefers(connect: Connect, talkative: OpenSSHServer) -> None:
    """Most other servers are told to exchange keys in a way that costs them less."""
    since = len(talkative.log())

    client = connect(talkative)

    assert lines(client.run_command("echo hello")) == ["hello"]
    wait_for_log(talkative, r"kex: algorithm: curve25519-sha256", since)


ALGORITHMS = [
    ("ciphers", ["aes256-ctr", "aes128-ctr"], r"kex: client->server cipher: aes256-ctr "),
    ("ciphers", ["aes256-ctr"], r"kex: server->client cipher: aes256-ctr "),
    ("ciphers", ["chacha20-poly1305@openssh.com"], r"client->server cipher: chacha20-poly1305@"),
    ("ciphers", ["aes256-gcm@openssh.com"], r"server->client cipher: aes256-gcm@openssh.com"),
    ("ciphers", ["aes128-cbc"], r"client->server cipher: aes128-cbc "),
    ("kex_algorithms", ["ecdh-sha2-nistp384"], r"kex: algorithm: ecdh-sha2-nistp384 "),
    ("kex_algorithms", ["diffie-hellman-group14-sha1"], r"kex: algorithm: diffie-hellman-group14-"),
    ("host_key_algorithms", ["rsa-sha2-256"], r"kex: host key algorithm: rsa-sha2-256 "),
    ("host_key_algorithms", ["rsa-sha2-512", "ssh-ed25519"], r"host key algorithm: rsa-sha2-512 "),
    ("host_key_algorithms", ["ecdsa-sha2-nistp256"], r"host key algorithm: ecdsa-sha2-nistp256 "),
]


@pytest.mark.parametrize(("name", "value", "logged"), ALGORITHMS)
def test_algorithms_that_were_asked_for_are_used(
    connect: Connect, talkative: OpenSSHServer, name: str, value: list[str], logged: str
) -> None:
    since = len(talkative.log())

    client = connect(talkative, **{name: value})

    assert lines(client.run_command("echo hello")) == ["hello"]
    wait_for_log(talkative, logged, since)


@pytest.mark.parametrize("mac", ["hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha1"])
def test_macs_that_were_asked_for_are_used(
    connect: Connect, talkative: OpenSSHServer, mac: str
) -> None:
    since = len(talkative.log())

    # AES-GCM and chacha20-poly1305 need none.
    client = connect(talkative, macs=[mac], ciphers=["aes128-ctr"])

    assert lines(client.run_command("echo hello")) == ["hello"]
    log = wait_for_log(talkative, r"kex: server->client cipher:", since)
    assert re.search(rf"client->server cipher: aes128-ctr MAC: {mac} ", log)
    assert re.search(rf"server->client cipher: aes128-ctr MAC: {mac} ", log)


def test_algorithms_of_one_host(connect_all: ConnectAll, talkative: OpenSSHServer) -> None:
    since = len(talkative.log())
    client = connect_all(
        2,
        talkative,
        ciphers=["aes192-ctr"],
        host_config=[HostConfig(), HostConfig(ciphers=("aes256-ctr",))],
    )

    client.run_command("true")

    wait_for_log(talkative, r"client->server cipher: aes192-ctr", since)
    wait_for_log(talkative, r"client->server cipher: aes256-ctr", since)


def test_broken_algorithms_are_not_offered(connect: Connect, talkative: OpenSSHServer) -> None:
    since = len(talkative.log())

    connect(talkative, known_hosts=str(talkative.folder / "none yet"))

    log = wait_for_log(talkative, r"kex: host key algorithm: ssh-ed25519", since)
    offered = log[log.index("peer client KEXINIT proposal") :].splitlines()[:11]
    assert any("ssh-ed25519" in line for line in offered)
    for line in offered:
        for broken in ("sha1", "-cbc", "arcfour", "md5", "ssh-rsa", "ssh-dss", "ripemd"):
            assert broken not in line, line


@pytest.mark.parametrize("name", ["ciphers", "macs", "kex_algorithms", "host_key_algorithms"])
def test_an_unknown_algorithm_is_refused_at_construction(library: Library, name: str) -> None:
    known = library.SSHClient.supported_algorithms(name)[0]
    wanted: dict[str, Any] = {name: [known, "no-such-algorithm"]}
    calls: list[Callable[[], object]] = [
        lambda: library.SSHClient("no-such-host.invalid", num_retries=1, **wanted),
        lambda: library.ParallelSSHClient(["no-such-host.invalid"], **wanted),
        lambda: library.ParallelSSHClient(
            ["no-such-host.invalid"],
            host_config=[HostConfig(**wanted)],
        ),
    ]
    for call in calls:
        with pytest.raises(InvalidAPIUseError, match="no-such-algorithm") as caught:
            call()
        assert name in str(caught.value)
        assert known in str(caught.value)  # what could be said instead


def test_compress_really_compresses(connect: Connect, talkative: OpenSSHServer) -> None:
    received = {}
    for compress in (False, True):
        client = connect(talkative, compress=compress)
        output = client.run_command("head -c 1000000 /dev/zero")
        assert sum(len(line) for line in lines(output)) == 1_000_000
        received[compress] = client.connect().bytes_received()

    assert received[False] > 1_000_000
    assert received[True] < 100_000


def test_compress_of_one_host(connect_all: ConnectAll, talkative: OpenSSHServer) -> None:
    since = len(talkative.log())
    client = connect_all(1, talkative, host_config=[HostConfig(compress=True)])

    assert lines(client.run_command("echo hello")[0]) == ["hello"]

    wait_for_log(talkative, r"compression: zlib", since)


# Aliases and hosts


def test_the_alias_is_in_outputs(connect: Connect, connect_all: ConnectAll) -> None:
    assert connect(alias="one").run_command("true").alias == "one"
    assert connect().run_command("true").alias is None
    client = connect_all(
        3,
        host_config=[
            HostConfig(alias="first"),
            HostConfig(alias="second", port=free_port()),
            HostConfig(),
        ],
    )

    outputs = client.run_command("true", stop_on_errors=False)

    assert [out.alias for out in outputs] == ["first", "second", None]
    assert outputs[1].exception is not None
    assert "second" in str(outputs[1])


@pytest.mark.parametrize("hosts", ["localhost", b"localhost"])
def test_hosts_must_not_be_a_string(library: Library, hosts: Any) -> None:
    with pytest.raises(TypeError, match="string"):
        library.ParallelSSHClient(hosts)
    client = library.ParallelSSHClient(["localhost"])
    with pytest.raises(TypeError, match="string"):
        client.hosts = hosts
    assert client.hosts == ["localhost"]


def test_hosts_may_come_from_a_generator(connect_all: ConnectAll, sshd: OpenSSHServer) -> None:
    client = connect_all(sshd.host for _ in range(3))

    assert client.hosts == [sshd.host] * 3
    for _ in range(2):
        assert len(client.run_command("true")) == 3


PEER = "echo ${SSH_CONNECTION}"


def connections(client: BaseParallelSSHClient) -> list[str | bytes]:
    """Which connection each host's command runs on."""
    return [next(stdout(out)) for out in client.run_command(PEER)]


def test_repeated_hosts_are_separate(connect_all: ConnectAll) -> None:
    client = connect_all(3)

    first = connections(client)

    assert len(set(first)) == 3
    assert connections(client) == first


def test_assigning_hosts_keeps_those_that_stay(
    connect_all: ConnectAll, sshd_with: Callable[..., OpenSSHServer]
) -> None:
    server = sshd_with()
    client = connect_all(["127.0.0.1", "localhost", "127.0.0.1"], server)
    before = connections(client)
    assert len(server.connections()) == 3

    client.hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.1", "localhost"]

    eventually(lambda: len(server.connections()) == 2, "the end of one connection")
    after = connections(client)
    assert after[0] == before[0]
    assert after[2] == before[2]
    assert after[1] not in before
    assert after[3] not in before
    assert client.hosts == ["127.0.0.1", "127.0.0.1", "127.0.0.1", "localhost"]


def test_pool_size_limits_how_many_are_worked_on(
    connect_all: ConnectAll, sshd: OpenSSHServer
) -> None:
    # Each connection takes its place in the pool until its command has been started.
    client = connect_all(6, pool_size=2)
    running = most = 0
    original = type(client)._CLIENT.connect

    def counted(self: BaseSSHClient) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return original(self)
        finally:
            running -= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(client)._CLIENT, "connect", counted)
        outputs = client.run_command("echo hello")

    assert [lines(out) for out in outputs] == [["hello"]] * 6
    assert most == 2


def test_settings_are_not_shared_between_clients(
    library: Library, settings_for: SettingsFor, sshd: OpenSSHServer
) -> None:
    config = HostConfig(alias="kept")
    one = library.ParallelSSHClient(
        [sshd.host], host_config=[config], **settings_for(sshd, alias="other")
    )
    one.run_command("true")
    one.close()

    assert config == HostConfig(alias="kept")
