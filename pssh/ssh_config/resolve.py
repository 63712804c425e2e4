"""Which lines of a configuration count for a host: the first value of each keyword wins."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from pssh.exceptions import SSHConfigError
from pssh.ssh_config import tokens
from pssh.ssh_config.files import (
    ConfigFile,
    Configuration,
    Criterion,
    HostLine,
    IncludeLine,
    Line,
    MatchLine,
)
from pssh.ssh_config.keywords import ACCUMULATING, USED
from pssh.ssh_config.patterns import list_matches

#: Runs a command of ``Match exec`` in the user's shell; whether it succeeded.
Run = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What counts for a host.

    :param original: the host as it was named.
    :param hostname: its real name or address.
    :param user: the name to log in with, where one was given.
    :param port: the port as text.
    :param lines: keyword -> the lines that count.
    :param unused: the lines that count and that nothing here acts on.
    :param tokens: token, without ``%``, to value.
    """

    original: str
    hostname: str
    user: str | None
    port: str
    lines: Mapping[str, tuple[Line, ...]]
    unused: tuple[Line, ...]
    tokens: Mapping[str, str]


def resolve(
    configuration: Configuration,
    host: str,
    run: Run,
    *,
    user: str | None = None,
    port: int | None = None,
) -> Resolved:
    """Find out what a configuration says of a host.

    :param configuration: the files.
    :param host: the host as the user names it.
    :param run: runs commands of ``Match exec``, where one has to be run.
    :param user: a user name that wins over the configuration.
    :param port: likewise.
    :raises SSHConfigError: when it is wrong, or asks for what cannot be done here.
    """
    return _Evaluation(host, run, user, port).of(configuration.files)


@dataclass(slots=True)
class _Evaluation:
    original: str
    run: Run
    user: str | None
    port: int | None
    host: str = ""
    final_pass: bool = False
    wants_final_pass: bool = False
    lines: dict[str, list[Line]] = field(default_factory=dict)
    unused: dict[str, Line] = field(default_factory=dict)

    def of(self, files: Iterable[ConfigFile]) -> Resolved:
        self.host = self.original
        self._pass(files)
        self._refuse_canonical_names()
        self.host = self._lower(self._hostname())
        if self.wants_final_pass:
            self.final_pass = True
            self._pass(files)
        return Resolved(
            self.original,
            self.host,
            self._user(),
            self._port(),
            {keyword: tuple(lines) for keyword, lines in self.lines.items()},
            tuple(self.unused.values()),
            self._tokens(),
        )

    def _pass(self, files: Iterable[ConfigFile]) -> None:
        for file in files:
            self._file(file, never=False)

    def _file(self, file: ConfigFile, *, never: bool) -> None:
        """Evaluate a file. What is included where nothing counts never counts."""
        for block in file.blocks:
            active = self._is_active(block.condition) and not never
            if not active and not block.watched:
                continue
            for item in block.items:
                if isinstance(item, IncludeLine):
                    for included in item.files:
                        self._file(included, never=not active)
                elif not item.known:
                    self._unknown(item)
                elif active:
                    self._take(item)

    def _is_active(self, condition: HostLine | MatchLine | None) -> bool:
        if condition is None:
            return True
        if isinstance(condition, HostLine):
            return condition.matches(self.host)
        return self._matches(condition)

    # Lines

    def _take(self, line: Line) -> None:
        keyword = line.keyword
        if keyword not in USED:
            self.unused.setdefault(keyword, line)
            return
        if keyword == "proxycommand" and self._has_jump():
            return
        if keyword == "proxyjump" and "proxycommand" in self.lines:
            return
        taken = self.lines.setdefault(keyword, [])
        if not taken or (
            keyword in ACCUMULATING and all(line.words != other.words for other in taken)
        ):
            taken.append(line)

    def _has_jump(self) -> bool:
        first = self.lines.get("proxyjump")
        return first is not None and first[0].words[0].lower() != "none"

    def _unknown(self, line: Line) -> None:
        ignored = self.lines.get("ignoreunknown")
        if ignored is None or not list_matches(line.keyword, ignored[0].words[0], lower=True):
            raise line.error("%s is no option of OpenSSH's client that is known here", line.name)

    def _refuse_canonical_names(self) -> None:
        first = self.lines.get("canonicalizehostname")
        if first is not None and first[0].words[0].lower() not in ("no", "false", "none"):
            raise first[0].error(
                "CanonicalizeHostname would ask name servers for host %s, which is not done "
                "here: use full names, or HostName",
                self.original,
            )

    # Match

    def _matches(self, match: MatchLine) -> bool:
        met = True
        for criterion in match.criteria:
            if criterion.kind == "final":
                # Asks for another pass whether or not the rest is met.
                self.wants_final_pass = True
            if met:
                met = self._is_met(criterion, match.line) != criterion.negated
        return met

    def _is_met(self, criterion: Criterion, line: Line) -> bool:
        argument = criterion.argument
        if criterion.kind == "all":
            return True
        if criterion.kind in ("final", "canonical"):
            return self.final_pass
        if criterion.kind == "host":
            return list_matches(self._hostname(), argument, lower=True)
        if criterion.kind == "originalhost":
            return list_matches(self.original, argument, lower=True)
        if criterion.kind == "user":
            return list_matches(self._user() or _passwd().pw_name, argument)
        if criterion.kind == "localuser":
            return list_matches(_passwd().pw_name, argument)
        if criterion.kind == "tagged":
            return list_matches(self._first("tag") or "", argument)
        try:
            command = tokens.expand_with_environment(argument, self._tokens())
        except SSHConfigError as ex:
            raise line.error(f"Match exec cannot be evaluated: {ex}") from ex
        return self.run(command)

    # What counts so far

    def _first(self, keyword: str) -> str | None:
        lines = self.lines.get(keyword)
        return lines[0].words[0] if lines else None

    def _hostname(self) -> str:
        """Return the host's real name as far as it is known."""
        if self.final_pass:
            return self.host
        lines = self.lines.get("hostname")
        if not lines:
            return self.host
        try:
            return tokens.expand(lines[0].words[0], {"h": self.host}, "h")
        except SSHConfigError as ex:
            raise lines[0].error(f"HostName cannot be used: {ex}") from ex

    def _lower(self, host: str) -> str:
        return host if _is_address(host) else host.lower()

    def _user(self) -> str | None:
        return self.user or self._first("user")

    def _port(self) -> str:
        return str(self.port) if self.port is not None else self._first("port") or "22"

    def _tokens(self) -> dict[str, str]:
        host, port = self._hostname(), self._port()
        user = self._user() or _passwd().pw_name
        jump = (self._first("proxyjump") or "") if self._has_jump() else ""
        local = socket.gethostname()
        return {
            "C": tokens.connection_hash(local, host, port, user, jump),
            "d": os.path.expanduser("~"),
            "h": host,
            "i": str(os.getuid()),
            "j": jump,
            "k": self._first("hostkeyalias") or self.original,
            "L": local.partition(".")[0],
            "l": local,
            "n": self.original,
            "p": port,
            "r": user,
            "u": _passwd().pw_name,
        }


@cache
def _passwd() -> pwd.struct_passwd:
    return pwd.getpwuid(os.getuid())


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False
