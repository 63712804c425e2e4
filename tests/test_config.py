"""`pssh.config`: settings, how they merge, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.config import ARGUMENT_NAMES, HostConfig, arguments, from_arguments
from pssh.exceptions import InvalidAPIUseError
from pssh.settings import ClientSettings, HostSettings, ParallelSettings

#: A value of each kind of setting that can be merged, and some that are false without being unset.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "user": st.sampled_from(["a", "b"]),
    "port": st.integers(1, 65535),
    "password": st.sampled_from(["", "secret"]),
    "num_retries": st.integers(1, 9),
    "retry_delay": st.sampled_from([0, 0.5, 5]),
    "timeout": st.sampled_from([0, 1.5]),
    "allow_agent": st.booleans(),
    "keepalive_seconds": st.sampled_from([False, 0, 5]),
    "compress": st.booleans(),
    "buffer_size": st.integers(1, 10**9),
    "buffer_overflow": st.sampled_from(["file", "block"]),
}
CONFIGS = st.fixed_dictionaries({}, optional=VALUES)


@given(CONFIGS, CONFIGS)
def test_what_is_set_wins(first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = HostConfig(**first).over(HostConfig(**second))
    for name in VALUES:
        assert getattr(merged, name) == first.get(name, second.get(name))


@given(CONFIGS)
def test_merging_with_nothing_changes_nothing(values: dict[str, Any]) -> None:
    config = HostConfig(**values)
    assert config.over(HostConfig()) == config
    assert HostConfig().over(config) == config
    complete = config.with_defaults()
    assert complete.with_defaults() == complete
    assert HostConfig().over(complete) == complete


@given(CONFIGS, CONFIGS)
def test_merging_changes_neither(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, other = HostConfig(**first), HostConfig(**second)
    one.over(other).with_defaults()
    assert (one, other) == (HostConfig(**first), HostConfig(**second))


def test_false_and_zero_are_values() -> None:
    config = HostConfig(allow_agent=False, timeout=0, keepalive_seconds=0, retry_delay=0)
    complete = config.with_defaults()
    assert complete.allow_agent is False
    assert (complete.timeout, complete.keepalive_seconds, complete.retry_delay) == (0, 0, 0)


def test_everything_is_unset_at_first() -> None:
    assert all(getattr(HostConfig(), name) is None for name in _field_names())
    assert not any(HostConfig().is_set(name) for name in _field_names())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user", ""), ("user", 1), ("port", 0), ("port", 65536), ("port", "22"), ("port", True),
        ("port", 22.0), ("password", b"x"), ("password", 1), ("private_key", ""),
        ("private_key", 1), ("allow_agent", 1), ("allow_agent", "no"), ("num_retries", 0),
        ("num_retries", 1.5), ("retry_delay", -1), ("retry_delay", "1"), ("timeout", -0.1),
        ("timeout", True), ("keepalive_seconds", -1), ("keepalive_seconds", True),
        ("host_key_policy", "maybe"), ("known_hosts", 1), ("known_hosts", [1]), ("ciphers", "aes"),
        ("ciphers", []), ("ciphers", ["a,b"]), ("ciphers", [""]), ("macs", [b"x"]),
        ("buffer_size", 0), ("buffer_size", 1.5), ("buffer_overflow", "drop"), ("alias", ""),
        ("compress", 0), ("ipv6_only", "yes"), ("cert_file", ""), ("proxy_jump", ""),
        ("agent", "/a/socket"), ("hostname", ""), ("address_family", "ipv4"),
        ("bind_address", 1), ("connect_timeout", "5"), ("keepalive_count_max", -1),
        ("identity_files", 1), ("identity_agent", True), ("certificate_files", [1]),
        ("public_key_algorithms", "ssh-rsa"), ("ciphers", ["+"]), ("macs", ["^", "a"]),
        ("set_env", ["A=1"]), ("set_env", {"A": 1}), ("set_env", {"A=": "1"}), ("use_pty", 1),
        ("user", "root\0"), ("password", "a\0b"), ("proxy_password", "a\0b"), ("alias", "\0"),
        ("hostname", "host\0.example"), ("proxy_host", "a\0"), ("set_env", {"A": "1\0"}),
        ("set_env", {"A\0": "1"}), ("known_hosts", "a\0b"), ("identity_files", ["a", "b\0"]),
    ],
)  # fmt: skip
def test_bad_values(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be ") as caught:
        HostConfig(**{name: value})
    assert type(value).__name__ in str(caught.value)


def test_a_bad_value_is_not_in_the_message() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        HostConfig(password=b"hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    config = HostConfig(
        user="me", password="hunter2", proxy_password="hunter3", private_key=b"the key", port=1
    )
    shown = repr(config)
    assert "hunter" not in shown
    assert "the key" not in shown
    assert "user='me'" in shown
    assert "port=1" in shown
    assert "timeout" not in shown
    # By mistake: as text it would have to be a path.
    assert "the key" not in repr(HostConfig(private_key="-----BEGIN PRIVATE KEY-----the key"))


def test_paths() -> None:
    path = Path("/a/key")
    config = HostConfig(private_key=path, known_hosts=[path, "b"], cert_file="c")
    assert config.private_key == path
    assert config.known_hosts == [path, "b"]


def test_from_arguments() -> None:
    config = from_arguments("Client", ("user", "pkey"), ("me", "/key"), {"port": 5})
    assert config == HostConfig(user="me", private_key="/key", port=5)


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        (("a", "b", "c"), {}, "at most 2 positional"),
        (("a",), {"user": "b"}, "multiple values for user"),
        ((), {"usr": "b"}, "no setting usr"),
        ((), {"_cache": 1}, "no setting _cache"),
    ],
)
def test_from_wrong_arguments(args: Any, settings: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^Client .*{message}"):
        from_arguments("Client", ("user", "pkey"), args, settings)


def test_arguments() -> None:
    shown = list(arguments())
    assert "pkey" in shown
    assert "private_key" not in shown
    assert len(shown) == len(set(shown)) == len(_field_names())


def test_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        HostConfig().no_such_setting = 1  # type: ignore[attr-defined]


def test_refused_settings_name_the_client_that_can() -> None:
    from pssh.config import refuse_unsupported

    refuse_unsupported(HostConfig(gssapi_auth=False), {"gssapi_auth": "use another"}, "Client")
    with pytest.raises(InvalidAPIUseError, match=r"gssapi_auth.*use another"):
        refuse_unsupported(HostConfig(gssapi_auth=True), {"gssapi_auth": "use another"}, "Client")


def _field_names() -> list[str]:
    return [field.name for field in dataclasses.fields(HostConfig)]


def test_type_checkers_see_each_setting_with_its_type() -> None:
    declared = get_type_hints(HostConfig)
    called = {field: argument for argument, field in ARGUMENT_NAMES.items()}
    expected = {called.get(name, name): declared[name] for name in declared}

    assert get_type_hints(ClientSettings) == expected
    del expected["alias"]
    assert get_type_hints(HostSettings) == expected
    assert ParallelSettings.__annotations__.keys() - expected.keys() == {"pool_size", "host_config"}
    assert not ClientSettings.__required_keys__ | ParallelSettings.__required_keys__
