"""From the lines of a configuration to settings of a host."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

from pssh.config import KNOWN_HOSTS_FILES, HostConfig
from pssh.exceptions import SSHConfigError
from pssh.ssh_config import tokens
from pssh.ssh_config.files import Line
from pssh.ssh_config.resolve import Resolved

#: Tokens of ProxyJump and ProxyCommand.
_PROXY_TOKENS: Final = "hnpr"

_USER_FILES, _SYSTEM_FILES = KNOWN_HOSTS_FILES[:2], KNOWN_HOSTS_FILES[2:]

_POLICIES: Final = {
    "yes": "strict",
    "true": "strict",
    # There is nobody who could be asked.
    "ask": "strict",
    "accept-new": "accept-new",
    "no": "ignore",
    "false": "ignore",
    "off": "ignore",
}

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def settings(resolved: Resolved) -> HostConfig:
    """Return the settings that a configuration has for a host; what it does not say is unset.

    :raises SSHConfigError: when a value is none that its keyword can have.
    """
    values: dict[str, Any] = {}
    for keyword, (name, convert) in _SETTINGS.items():
        lines = resolved.lines.get(keyword)
        if lines is not None:
            values[name] = _converted(convert, resolved, lines[0])
    values["identity_files"] = _paths(resolved, "identityfile")
    values["certificate_files"] = _paths(resolved, "certificatefile")
    values["known_hosts"] = _known_hosts(resolved)
    if resolved.hostname != resolved.original:
        values["hostname"] = resolved.hostname
    try:
        return HostConfig(**values)
    except ValueError as ex:
        raise SSHConfigError(
            "OpenSSH's configuration of host %s cannot be used: %s",
            resolved.original,
            ex,
            host=resolved.original,
        ) from ex


Convert = Callable[[Resolved, str], Any]


def _converted(convert: Convert, resolved: Resolved, line: Line) -> Any:
    try:
        # All words of a line that has several: none of them contains a newline.
        return convert(resolved, "\n".join(line.words))
    except (ValueError, SSHConfigError) as ex:
        raise line.error("%s cannot be used: %s", line.name, ex) from ex


def _text(_: Resolved, word: str) -> str:
    return word


def _flag(_: Resolved, word: str) -> bool:
    try:
        return {"yes": True, "true": True, "no": False, "false": False}[word.lower()]
    except KeyError:
        raise ValueError(f"{word!r} is neither yes nor no") from None


def _number(_: Resolved, word: str) -> int:
    return int(word)


def _port(_: Resolved, word: str) -> int:
    port = int(word)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return port


def _seconds(_: Resolved, word: str) -> int:
    """Read a time such as ``1h30m`` (sshd_config(5), TIME FORMATS)."""
    if not re.fullmatch(r"(\d+[smhdw]?)+", word, re.ASCII | re.IGNORECASE):
        raise ValueError(f"{word!r} is no time")
    parts = re.findall(r"(\d+)([smhdw]?)", word.lower())
    return sum(int(count) * _SECONDS[unit] for count, unit in parts)


def _connect_timeout(resolved: Resolved, word: str) -> int:
    return 0 if word.lower() == "none" else _seconds(resolved, word)


def _names(_: Resolved, word: str) -> tuple[str, ...]:
    names = tuple(name for name in word.split(",") if name)
    if not names:
        raise ValueError("there is no name")
    return names


def _one_of(*words: str) -> Convert:
    def convert(_: Resolved, word: str) -> str:
        if word.lower() not in words:
            raise ValueError(f"{word!r} is none of {', '.join(words)}")
        return word.lower()

    return convert


def _policy(_: Resolved, word: str) -> str:
    return _POLICIES[_one_of(*_POLICIES)(_, word)]


def _terminal(_: Resolved, word: str) -> bool:
    # "auto" is for who has a terminal, and "yes" too; here nobody has.
    return _one_of("yes", "true", "force", "auto", "no", "false")(_, word) in (
        *("yes", "true", "force"),
    )


def _variables(_: Resolved, words: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for word in words.split("\n"):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError(f"{word!r} is not NAME=value")
        found.setdefault(name, value)
    return found


def _path(resolved: Resolved, word: str) -> str:
    return tokens.expand_with_environment(os.path.expanduser(word), resolved.tokens)


def _socket(resolved: Resolved, word: str) -> str | None:
    """Read the path of a socket, which may be the value of a variable."""
    if word.startswith("$") and not word.startswith("${"):
        return tokens.variable(word[1:])
    return _path(resolved, word)


def _agent(resolved: Resolved, word: str) -> str | None:
    if word == "SSH_AUTH_SOCK":
        return None
    return "none" if word.lower() == "none" else _socket(resolved, word)


def _forwarding(resolved: Resolved, word: str) -> bool | str | None:
    try:
        return _flag(resolved, word)
    except ValueError:
        return _socket(resolved, word)


def _jump(resolved: Resolved, word: str) -> str | None:
    if word.lower() == "none":
        return None
    return tokens.expand(word, resolved.tokens, _PROXY_TOKENS)


def _command(resolved: Resolved, word: str) -> str | None:
    """Read a command for the user's shell, as one that needs no shell."""
    if word.lower() == "none":
        return None
    command = tokens.expand(word, resolved.tokens, _PROXY_TOKENS)
    shell = os.environ.get("SHELL") or "/bin/sh"
    # Nothing is left to be replaced in it.
    return shlex.join([shell, "-c", f"exec {command}"]).replace("%", "%%")


def _paths(resolved: Resolved, keyword: str) -> tuple[str, ...] | None:
    """Return the files of a keyword that may come several times."""
    lines = resolved.lines.get(keyword)
    if lines is None:
        return None
    return tuple(
        _converted(_path, resolved, line) for line in lines if line.words[0].lower() != "none"
    )


def _known_hosts(resolved: Resolved) -> tuple[str, ...] | None:
    user = resolved.lines.get("userknownhostsfile")
    system = resolved.lines.get("globalknownhostsfile")
    if user is None and system is None:
        return None
    users = _USER_FILES if user is None else _files(resolved, user[0], _path)
    systems = _SYSTEM_FILES if system is None else _files(resolved, system[0], _home)
    # New keys go to the first one: never to a system's file.
    return (*(users or (os.devnull,)), *systems)


def _files(resolved: Resolved, line: Line, convert: Convert) -> tuple[str, ...]:
    words = [Line(line.keyword, (word,), line.name, line.path, line.number) for word in line.words]
    return tuple(
        _converted(convert, resolved, word) for word in words if word.words[0].lower() != "none"
    )


def _home(_: Resolved, word: str) -> str:
    return os.path.expanduser(word)


#: Keyword -> setting, and what makes its value of the words.
_SETTINGS: Final[Mapping[str, tuple[str, Convert]]] = {
    "addressfamily": ("address_family", _one_of("any", "inet", "inet6")),
    "bindaddress": ("bind_address", _text),
    "ciphers": ("ciphers", _names),
    "compression": ("compress", _flag),
    "connecttimeout": ("connect_timeout", _connect_timeout),
    "forwardagent": ("forward_ssh_agent", _forwarding),
    "hostkeyalgorithms": ("host_key_algorithms", _names),
    "hostkeyalias": ("host_key_alias", _text),
    "identitiesonly": ("identities_only", _flag),
    "identityagent": ("identity_agent", _agent),
    "kexalgorithms": ("kex_algorithms", _names),
    "macs": ("macs", _names),
    "port": ("port", _port),
    "proxycommand": ("proxy_command", _command),
    "proxyjump": ("proxy_jump", _jump),
    "pubkeyacceptedalgorithms": ("public_key_algorithms", _names),
    "requesttty": ("use_pty", _terminal),
    "serveralivecountmax": ("keepalive_count_max", _number),
    "serveraliveinterval": ("keepalive_seconds", _seconds),
    "setenv": ("set_env", _variables),
    "stricthostkeychecking": ("host_key_policy", _policy),
    "user": ("user", _text),
}
