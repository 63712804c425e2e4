"""The way to a host: which hosts it leads through, and with which settings. Pure.

The settings of a host on the way are made in one place, :func:`hop_config`, unless somebody who
knows more about it makes them (see :func:`next_hop`): OpenSSH's configuration does.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

from pssh.config import WAYS, HostConfig
from pssh.constants import DEFAULT_PORT
from pssh.exceptions import InvalidAPIUseError

#: As in ssh_config(5).
NONE = "none"

#: What is the target's own, and says nothing about the hosts on the way: its port, its name in
#: the output, who it is to Kerberos, what the user wants to do there. What is encrypted already
#: does not get smaller.
_OF_THE_TARGET = (
    *("port", "alias", "forward_ssh_agent", "gssapi_server_identity", "gssapi_client_identity"),
    *("gssapi_delegate_credentials", "compress", "proxy_host", "proxy_port", "proxy_user"),
    *("proxy_password", "proxy_pkey", "proxy_jump", "proxy_command", "auth_thread_pool"),
    *("hostname", "host_key_alias", "set_env", "use_pty"),
)

#: What two targets may differ in and still share a connection to the host in between.
_NO_MATTER = (
    *("timeout", "num_retries", "retry_delay", "keepalive_seconds", "alias"),
    *("buffer_size", "buffer_overflow", "auth_thread_pool", "proxy_max_targets"),
    *("connect_timeout", "keepalive_count_max"),
)


@dataclasses.dataclass(frozen=True)
class HopName:
    """What ``[user@]host[:port]`` says.

    :ivar host: a name or an address.
    :ivar user: the user, where one is named.
    :ivar port: the port, where one is named.
    """

    host: str
    user: str | None = None
    port: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Hop:
    """A host on the way.

    :ivar host: its name or address, for whoever connects to it.
    :ivar config: its settings. The rest of the way is in its ``proxy_jump``.
    """

    host: str
    config: HostConfig

    @property
    def port(self) -> int:
        """Its port."""
        return self.config.port or DEFAULT_PORT

    def key(self) -> Hashable:
        """Return what tells this host, and how it is logged in to, from others."""
        return (self.host, _key(self.config))


#: Makes the complete settings of a host on the way, of what is said of it and for it alone.
MakeConfig = Callable[[HopName, HostConfig], HostConfig]


def next_hop(config: HostConfig, make_config: MakeConfig | None = None) -> Hop | None:
    """Return the host from which a host is reached, ``None`` where there is none in between.

    :param config: the settings of the host, complete.
    :param make_config: makes the settings of a host on the way; :func:`hop_config` by default.
    :raises InvalidAPIUseError: when the settings make no sense together.
    """
    way = _way(config)
    if way is None:
        return None
    make = make_config or partial(hop_config, config)
    if way == "proxy_host":
        assert config.proxy_host is not None
        own = HostConfig(
            user=config.proxy_user,
            port=config.proxy_port or (config.port if make_config is None else None),
            password=config.proxy_password,
            private_key=config.proxy_pkey,
        )
        return Hop(config.proxy_host, make(HopName(config.proxy_host), own))
    if way == "proxy_jump":
        assert config.proxy_jump is not None
        *before, last = _jumps(config.proxy_jump)
        name, own = last
        made = make(name, own)
        if before:
            if make_config is None and _way(made) is not None:
                raise InvalidAPIUseError(
                    "%s in the settings of host %s makes no sense: proxy_jump says already what "
                    "it is reached through",
                    _way(made),
                    name.host,
                )
            # Complete, so that they take what is unset from the target, not from this one.
            made.proxy_host = made.proxy_command = None
            made.proxy_jump = [(_text(name), make(name, own)) for name, own in before]
        return Hop(name.host, made)
    return None


def inherited(given: HostConfig) -> HostConfig:
    """Return what hosts on the way have from their target where OpenSSH's configuration is read.

    :param given: what the program has said for the target, without defaults.
    """
    return dataclasses.replace(given, **dict.fromkeys(_OF_THE_TARGET))


def hop_config(target: HostConfig, name: HopName, own: HostConfig) -> HostConfig:
    """Make the settings of a host on the way.

    What is said of it goes first: its name (``user@host:port``), then the settings that the
    program gives for it; what is unset is as for the target, except for the port, and for
    what only the target has.

    :param target: the settings of the host that is to be reached, complete.
    :param name: what is said of the host on the way in a list of such hosts.
    :param own: settings for it alone.
    """
    said = HostConfig(user=name.user, port=name.port).over(own)
    inherited = dataclasses.replace(target, **dict.fromkeys(_OF_THE_TARGET))
    if said.private_key is not None:
        # A certificate is for one key.
        inherited.cert_file = None
    return said.over(inherited).with_defaults()


def command_words(config: HostConfig, host: str, port: int, user: str) -> list[str] | None:
    """Return the command whose input and output lead to a host, ``None`` where there is none.

    :param config: the settings of the host, complete.
    :param host: stands for ``%h``.
    :param port: stands for ``%p``.
    :param user: stands for ``%r``.
    :raises InvalidAPIUseError: when it is no command.
    """
    if _way(config) != "proxy_command":
        return None
    assert config.proxy_command is not None
    try:
        words = shlex.split(config.proxy_command)
    except ValueError as ex:
        raise InvalidAPIUseError("proxy_command %r: %s", config.proxy_command, ex) from ex
    if not words:
        raise InvalidAPIUseError("proxy_command is empty")
    values = {"h": host, "p": str(port), "r": user, "%": "%"}
    expanded = ["".join(_expanded(word, values)) for word in words]
    for value in (host, user):
        # A program would take it for an option.
        if value.startswith("-") and value in expanded:
            raise InvalidAPIUseError("proxy_command cannot be used with the name %r", value)
    return expanded


def _expanded(word: str, values: dict[str, str]) -> Iterator[str]:
    """Replace the tokens in a word (ssh_config(5), TOKENS)."""
    characters = iter(word)
    for character in characters:
        if character != "%":
            yield character
            continue
        token = next(characters, "")
        if token not in values:
            known = ", ".join(f"%{name}" for name in values)
            raise InvalidAPIUseError("proxy_command: %%%s is none of %s", token, known)
        yield values[token]


def check(config: HostConfig) -> None:
    """Raise for ways that cannot be.

    :param config: the settings of a host, complete.
    :raises InvalidAPIUseError: naming them.
    """
    hop: Hop | None = Hop("", config)
    while hop is not None:
        command_words(hop.config, "host", DEFAULT_PORT, "user")
        hop = next_hop(hop.config)


def hops(config: HostConfig) -> Iterator[Hop]:
    """Iterate over the hosts on the way, the nearest to the target first.

    :param config: the settings of the target, complete.
    """
    hop = next_hop(config)
    while hop is not None:
        yield hop
        hop = next_hop(hop.config)


def own_settings(config: HostConfig) -> list[HostConfig]:
    """Return what the program says for hosts on the way alone.

    :param config: the settings of the target; unset ones are fine.
    """
    jump = config.proxy_jump
    return [] if jump is None else [own for _, own in _jumps(jump)]


def _way(config: HostConfig) -> str | None:
    """Return which of the ways is set."""
    if config.proxy_host is config.proxy_jump is config.proxy_command is None:
        # Which is asked for several times for each host, and mostly so.
        return None
    named = [name for name in WAYS if not _is_none(getattr(config, name))]
    if len(named) > 1:
        raise InvalidAPIUseError("%s cannot be used together", " and ".join(named))
    way = named[0] if named else None
    if way in ("proxy_jump", "proxy_command"):
        of_the_proxy_host = ("proxy_port", "proxy_user", "proxy_password", "proxy_pkey")
        for name in of_the_proxy_host:
            if getattr(config, name) is not None:
                raise InvalidAPIUseError("%s belongs to proxy_host, not to %s", name, way)
    return way


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() == NONE)


def _jumps(
    jump: str | Sequence[str | tuple[str, HostConfig]],
) -> list[tuple[HopName, HostConfig]]:
    if _is_none(jump):
        return []
    several = jump.split(",") if isinstance(jump, str) else jump
    found = []
    for each in several:
        text, own = (each, HostConfig()) if isinstance(each, str) else each
        found.append((parse(text), own))
    return found


def _text(name: HopName) -> str:
    host = f"[{name.host}]" if ":" in name.host else name.host
    user = "" if name.user is None else f"{name.user}@"
    port = "" if name.port is None else f":{name.port}"
    return f"{user}{host}{port}"


def parse(text: str) -> HopName:
    """Read ``[user@]host[:port]``, as ``ssh -J`` does.

    :param text: the text; an IPv6 address stands in brackets where a port follows.
    :raises InvalidAPIUseError: when it is something else.
    """
    wrong = InvalidAPIUseError("proxy_jump: %r is not [user@]host[:port]", text)
    rest = text.strip()
    user, at, rest = rest.rpartition("@")
    port: str | None
    if rest.startswith("["):
        host, bracket, after = rest[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise wrong
        port = after[1:] if after else None
    elif rest.count(":") > 1:
        # An IPv6 address as it stands.
        host, port = rest, None
    else:
        host, colon, port = rest.partition(":")
        port = port if colon else None
    if not host or any(c.isspace() for c in host) or (at and not user):
        raise wrong
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise wrong
    return HopName(host, user or None, None if port is None else int(port))


def _key(config: HostConfig) -> Hashable:
    return tuple(
        _hashable(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.name not in _NO_MATTER
    )


def _hashable(value: Any) -> Hashable:
    if isinstance(value, HostConfig):
        return _key(value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return value if isinstance(value, Hashable) else id(value)
