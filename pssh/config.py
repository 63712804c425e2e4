"""The settings of a host: each declared once, with its default and its check. Pure."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pssh.agent import SSHAgent
from pssh.constants import DEFAULT_PORT, DEFAULT_RETRIES, RETRY_DELAY
from pssh.exceptions import InvalidAPIUseError
from pssh.private_key import KEY_MARK

HOST_KEY_POLICIES = ("strict", "accept-new", "ignore")
BUFFER_OVERFLOWS = ("file", "block")
ADDRESS_FAMILIES = ("any", "inet", "inet6")

#: Settings whose values are names of algorithms.
ALGORITHM_SETTINGS = (
    *("ciphers", "macs", "kex_algorithms", "host_key_algorithms", "public_key_algorithms"),
)

#: Where OpenSSH looks for host keys (ssh_config(5), UserKnownHostsFile, GlobalKnownHostsFile).
KNOWN_HOSTS_FILES = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)

#: Settings that name a way through something else, of which there can be one.
WAYS = ("proxy_host", "proxy_jump", "proxy_command")

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Whether something is text that is sent as it is."""
    return bool(value) and _whole_text(value)


def _whole_text(value: Any) -> bool:
    """Text without a NUL, at which the libraries would end it: what is sent is what was given."""
    return isinstance(value, str) and "\0" not in value


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _port(value: Any) -> bool:
    return _integer(value) and 0 < value < 65536


def _names(value: Any) -> bool:
    """Algorithm names: the list ends up comma separated in one packet (RFC 4251 section 6)."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and bool(value)
        and all(is_text(name) and "," not in name for name in value)
    )


def _algorithms(value: Any) -> bool:
    """Names, or changes to those that are offered else: ``+``, ``-`` or ``^`` before the first."""
    return _names(value) and value[0] not in ("+", "-", "^")


def _variables(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        is_variable(name) and _whole_text(content) for name, content in value.items()
    )


def is_variable(name: Any) -> bool:
    """Whether an environment variable can be called like this (environ(7))."""
    return is_text(name) and "=" not in name


def _key(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike) and bool(value)


def _path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and "\0" not in str(value)


def _paths(value: Any) -> bool:
    if isinstance(value, str | os.PathLike):
        return _path(value)
    return isinstance(value, Sequence) and all(map(_path, value))


def _jumps(value: Any) -> bool:
    """A list as ssh(1) takes it, or the hosts one by one, with or without settings."""
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, Sequence) and bool(value) and all(map(_jump, value))


def _jump(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and is_text(value[0])
        and isinstance(value[1], HostConfig)
    )


def _is_secret(value: Any) -> bool:
    """Whether a value is a key itself. As text it is none that can be used, but no less secret."""
    return isinstance(value, bytes) or (isinstance(value, str) and KEY_MARK in value)


def setting(default: Any, check: Check, must_be: str) -> Any:
    """Declare a setting: unset in an object, with its default and check beside it."""
    return dataclasses.field(
        default=None, metadata={"default": default, "check": check, "must_be": must_be}
    )


@dataclasses.dataclass(slots=True)
class HostConfig:
    """The settings of one host. An unset one (``None``) takes the client's value.

    The client's own keyword arguments build such an object too, so that everything which
    can be said for all hosts can be said for one. ``False`` and ``0`` are values.

    :raises ValueError: when a setting has a value that it cannot have.
    """

    user: str | None = setting(None, is_text, "a user name")
    port: int | None = setting(DEFAULT_PORT, _port, "a port number from 1 to 65535")
    password: str | None = setting(None, _whole_text, "a string without a NUL character")
    private_key: str | bytes | os.PathLike[str] | None = setting(
        None, _key, "the path of a private key file, or the key itself as bytes"
    )
    allow_agent: bool | None = setting(True, _flag, "True or False")
    alias: str | None = setting(None, is_text, "a name")
    num_retries: int | None = setting(
        DEFAULT_RETRIES, lambda v: _integer(v) and v >= 1, "a number of attempts, 1 or more"
    )
    retry_delay: float | None = setting(
        RETRY_DELAY, lambda v: _number(v) and v >= 0, "a number of seconds"
    )
    timeout: float | None = setting(
        None, lambda v: _number(v) and v >= 0, "a number of seconds, 0 for none"
    )
    identity_auth: bool | None = setting(True, _flag, "True or False")
    proxy_host: str | None = setting(None, is_text, "a host name or address")
    proxy_port: int | None = setting(None, _port, "a port number from 1 to 65535")
    proxy_user: str | None = setting(None, is_text, "a user name")
    proxy_password: str | None = setting(None, _whole_text, "a string without a NUL character")
    proxy_pkey: str | bytes | os.PathLike[str] | None = setting(
        None, _key, "the path of a private key file, or the key itself as bytes"
    )
    keepalive_seconds: float | bool | None = setting(
        60, lambda v: v is False or (_number(v) and v >= 0), "a number of seconds, or False"
    )
    ipv6_only: bool | None = setting(False, _flag, "True or False")
    cert_file: str | None = setting(None, _key, "the path of a certificate")
    auth_thread_pool: bool | None = setting(None, _flag, "True or False")
    gssapi_auth: bool | None = setting(False, _flag, "True or False")
    gssapi_server_identity: str | None = setting(None, is_text, "a name")
    gssapi_client_identity: str | None = setting(None, is_text, "a name")
    gssapi_delegate_credentials: bool | None = setting(False, _flag, "True or False")
    forward_ssh_agent: bool | str | os.PathLike[str] | None = setting(
        False, lambda v: _flag(v) or _paths(v), "True, False or the path of a socket"
    )
    compress: bool | None = setting(False, _flag, "True or False")
    keyboard_interactive: bool | None = setting(False, _flag, "True or False")
    proxy_jump: str | Sequence[str | tuple[str, HostConfig]] | None = setting(
        None,
        _jumps,
        "[user@]host[:port], comma separated, or a list of them or of (name, HostConfig)",
    )
    proxy_command: str | None = setting(None, is_text, "a command")
    host_key_policy: str | None = setting(
        "accept-new", lambda v: v in HOST_KEY_POLICIES, f"one of {', '.join(HOST_KEY_POLICIES)}"
    )
    known_hosts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = setting(
        KNOWN_HOSTS_FILES, _paths, "the path of a known_hosts file, or a list of paths"
    )
    ssh_config: bool | str | os.PathLike[str] | None = setting(
        False, lambda v: _flag(v) or _paths(v), "True, False or the path of a file"
    )
    ciphers: Sequence[str] | None = setting(None, _algorithms, "a list of names")
    macs: Sequence[str] | None = setting(None, _algorithms, "a list of names")
    kex_algorithms: Sequence[str] | None = setting(None, _algorithms, "a list of names")
    host_key_algorithms: Sequence[str] | None = setting(None, _algorithms, "a list of names")
    buffer_size: int | None = setting(
        1024 * 1024, lambda v: _integer(v) and v > 0, "a number of bytes, 1 or more"
    )
    buffer_overflow: str | None = setting(
        "file", lambda v: v in BUFFER_OVERFLOWS, f"one of {', '.join(BUFFER_OVERFLOWS)}"
    )
    proxy_max_targets: int | None = setting(
        None, lambda v: _integer(v) and v >= 1, "a number of hosts, 1 or more"
    )
    agent: SSHAgent | None = setting(
        None, lambda v: isinstance(v, SSHAgent), "a pssh.agent.SSHAgent"
    )
    hostname: str | None = setting(None, is_text, "a host name or address")
    host_key_alias: str | None = setting(None, is_text, "a name")
    address_family: str | None = setting(
        "any", lambda v: v in ADDRESS_FAMILIES, f"one of {', '.join(ADDRESS_FAMILIES)}"
    )
    bind_address: str | None = setting(None, is_text, "a local name or address")
    connect_timeout: float | None = setting(
        None, lambda v: _number(v) and v >= 0, "a number of seconds, 0 for none"
    )
    keepalive_count_max: int | None = setting(
        3, lambda v: _integer(v) and v >= 0, "a number of messages, 0 for any number"
    )
    identity_files: Sequence[str | os.PathLike[str]] | None = setting(
        None, _paths, "a list of paths"
    )
    identities_only: bool | None = setting(False, _flag, "True or False")
    identity_agent: str | os.PathLike[str] | None = setting(
        None, _paths, 'the path of a socket, or "none"'
    )
    certificate_files: Sequence[str | os.PathLike[str]] | None = setting(
        None, _paths, "a list of paths"
    )
    public_key_algorithms: Sequence[str] | None = setting(None, _algorithms, "a list of names")
    set_env: Mapping[str, str] | None = setting(None, _variables, "a dict of names and values")
    use_pty: bool | None = setting(False, _flag, "True or False")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not field.metadata["check"](value):
                # The value stays out of the message: it may be a secret.
                raise ValueError(
                    f"{field.name} must be {field.metadata['must_be']}, "
                    f"not this {type(value).__name__}"
                )
        if self.auth_thread_pool is not None:
            _warn_of_thread_pool(stacklevel=4)

    def __repr__(self) -> str:
        """Show what is set, without the secrets."""
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            secret = "password" in field.name or _is_secret(value)
            shown.append(f"{field.name}={'<secret>' if secret else repr(value)}")
        return f"HostConfig({', '.join(shown)})"

    def over(self, other: HostConfig) -> HostConfig:
        """Merge two objects: what is set here, and for what is unset what ``other`` has.

        Of the ways through a proxy there can be one: where one is named here, the others are
        not taken.
        """
        named = any(getattr(self, name) is not None for name in WAYS)

        def value_of(name: str, _: Any) -> Any:
            value = getattr(self, name)
            return (
                None
                if value is None and named and name in WAYS
                else (_first(value, getattr(other, name)))
            )

        return _build(value_of)

    def with_defaults(self) -> HostConfig:
        """Fill in the default of every setting that is unset."""
        return _build(lambda name, default: _first(getattr(self, name), default))

    def set_names(self) -> list[str]:
        """Return the names of the settings that have a value, be it ``False`` or ``0``."""
        fields = dataclasses.fields(self)
        return [field.name for field in fields if getattr(self, field.name) is not None]

    def is_set(self, name: str) -> bool:
        """Whether a setting asks for something: neither unset, nor off, nor empty."""
        return getattr(self, name) not in (None, False, 0)


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _build(value_of: Callable[[str, Any], Any]) -> HostConfig:
    """Make an object from values that have been checked before."""
    config = object.__new__(HostConfig)
    for field in dataclasses.fields(HostConfig):
        setattr(config, field.name, value_of(field.name, field.metadata["default"]))
    return config


#: What the clients' constructors call some settings differently.
ARGUMENT_NAMES = {"pkey": "private_key", "_auth_thread_pool": "auth_thread_pool"}


def by_name(
    client: str, names: Sequence[str], args: Sequence[Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all arguments of a client's constructor by their names.

    :param client: the class, for error messages.
    :param names: what positional arguments mean, in order.
    :param args: the positional arguments.
    :param settings: the keyword arguments.
    :raises TypeError: as Python does for arguments that are too many or come twice.
    """
    if len(args) > len(names):
        raise TypeError(f"{client} takes at most {len(names)} positional settings")
    given = dict(zip(names, args, strict=False))
    twice = given.keys() & settings.keys()
    if twice:
        raise TypeError(f"{client} got multiple values for {', '.join(sorted(twice))}")
    return {**given, **settings}


def from_arguments(
    client: str, names: Sequence[str], args: Sequence[Any], settings: Mapping[str, Any]
) -> HostConfig:
    """Build the settings from the arguments of a client's constructor.

    :param client: the class, for error messages.
    :param names: what positional arguments mean, in order.
    :param args: the positional arguments.
    :param settings: the keyword arguments.
    :raises TypeError: as Python does for arguments that do not exist or come twice.
    :raises ValueError: when a setting has a value that it cannot have.
    """
    given = by_name(client, names, args, settings)
    fields = {ARGUMENT_NAMES.get(name, name): value for name, value in given.items()}
    known = {field.name for field in dataclasses.fields(HostConfig)}
    unknown = fields.keys() - known
    if unknown:
        raise TypeError(f"{client} has no setting {', '.join(sorted(unknown))}")
    pool = fields.pop("auth_thread_pool", None)
    if pool is not None:
        _warn_of_thread_pool(stacklevel=4)
    return HostConfig(**fields)


def _warn_of_thread_pool(stacklevel: int) -> None:
    warnings.warn(
        "auth_thread_pool does nothing: authentication does not block",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def refuse_unsupported(config: HostConfig, unsupported: Mapping[str, str], client: str) -> None:
    """Raise for a setting that this client cannot honour, rather than ignoring it.

    :param config: the settings of a host.
    :param unsupported: setting to what to say about it.
    :param client: what the client is called in the message.
    :raises InvalidAPIUseError: naming the setting and the reason.
    """
    for name, reason in unsupported.items():
        if config.is_set(name):
            raise InvalidAPIUseError("%s cannot be used with %s: %s", name, client, reason)


def arguments() -> dict[str, Any]:
    """Return the settings as the clients' constructors name them, each with its default."""
    called = {field: argument for argument, field in ARGUMENT_NAMES.items()}
    return {
        called.get(field.name, field.name): field.metadata["default"]
        for field in dataclasses.fields(HostConfig)
    }
