"""Files of ssh_config(5), with what they include, as one tree that is evaluated for each host."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pssh.exceptions import SSHConfigError
from pssh.ssh_config import syntax
from pssh.ssh_config.keywords import ALIASES, KNOWN, SEVERAL_WORDS, USED, WHOLE_LINE
from pssh.ssh_config.patterns import host_line_matches

#: As OpenSSH: how deeply files may include each other.
_DEPTH_MAX: Final = 16

USER_FILE: Final = "~/.ssh/config"
SYSTEM_FILE: Final = "/etc/ssh/ssh_config"

#: Criteria of ``Match`` that have no argument.
ALONE: Final = ("all", "canonical", "final")
WITH_ARGUMENT: Final = ("exec", "host", "localuser", "originalhost", "tagged", "user")


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its keyword, in lower case and by its present name, and its words.

    :param name: the keyword as it was written.
    :param known: whether OpenSSH knows the keyword.
    """

    keyword: str
    words: tuple[str, ...]
    name: str
    path: str
    number: int
    known: bool = True

    def error(self, message: str, *values: object) -> SSHConfigError:
        """Make an error that says where it is."""
        return SSHConfigError(
            f"{message} (%s line %s)", *values, self.path, self.number,
            path=self.path, line=self.number,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HostLine:
    """``Host``: what follows is for hosts whose name matches the patterns.

    :param names: the patterns, where they are plain names.
    """

    patterns: tuple[str, ...]
    names: frozenset[str] | None

    def matches(self, host: str) -> bool:
        """Whether what follows is for a host."""
        if self.names is not None:
            return host in self.names
        return host_line_matches(host, self.patterns)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion of a ``Match`` line.

    :param kind: one of :data:`ALONE` or :data:`WITH_ARGUMENT`.
    """

    kind: str
    argument: str
    negated: bool


@dataclass(frozen=True, slots=True)
class MatchLine:
    """``Match``: what follows is for connections that meet all criteria."""

    criteria: tuple[Criterion, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class IncludeLine:
    """``Include``: the files that it named when it was read."""

    files: tuple[ConfigFile, ...]


Item = Line | HostLine | MatchLine | IncludeLine


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between one ``Host`` or ``Match`` and the next.

    :param condition: for which hosts it is; ``None`` for what stands before the first.
    :param watched: whether it matters even where it is for another host.
    """

    condition: HostLine | MatchLine | None
    items: tuple[Line | IncludeLine, ...]
    watched: bool


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What stands in a file, in order."""

    path: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """All files that count, the most important one first."""

    files: tuple[ConfigFile, ...]


def load(path: str | os.PathLike[str] | None = None) -> Configuration:
    """Read the configuration.

    :param path: the one file that counts; ``None`` for the user's and the system's, where
        they exist.
    :raises SSHConfigError: when a file cannot be read, is not safe, or is wrong.
    """
    if path is not None:
        source = os.path.expanduser(path)
        try:
            return Configuration((_Reader(user=True, safe=False).read(source, 0),))
        except FileNotFoundError as ex:
            raise SSHConfigError("There is no file %s for ssh_config", source, path=source) from ex
    files = []
    for name, user in ((USER_FILE, True), (SYSTEM_FILE, False)):
        try:
            files.append(_Reader(user=user, safe=user).read(os.path.expanduser(name), 0))
        except FileNotFoundError:
            continue
    return Configuration(tuple(files))


class _Reader:
    """Reads a file and what it includes.

    :param user: whether it is a user's: then a relative path starts from ``~/.ssh``.
    :param safe: refuse files that somebody else may have written.
    """

    def __init__(self, *, user: bool, safe: bool) -> None:
        self._user = user
        self._safe = safe

    def read(self, path: str, depth: int) -> ConfigFile:
        if depth > _DEPTH_MAX:
            raise SSHConfigError(
                "OpenSSH configuration files include each other too deeply: %s", path, path=path
            )
        try:
            with Path(path).open("rb") as file:
                if self._safe:
                    _check_owner(path, os.fstat(file.fileno()))
                text = file.read().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            raise
        except IsADirectoryError:
            text = ""
        except OSError as ex:
            raise SSHConfigError(
                "OpenSSH configuration %s cannot be read: %s", path, ex.strerror, path=path
            ) from ex
        return ConfigFile(path, tuple(_blocks(self._items(path, text, depth))))

    def _items(self, path: str, text: str, depth: int) -> Iterator[Item]:
        for number, content in enumerate(text.split("\n"), 1):
            try:
                split = syntax.keyword(content)
                if split is not None:
                    yield self._item(*split, path, number, depth)
            except SSHConfigError as ex:
                if ex.line is not None:
                    raise
                where = Line("", (), "", path, number)
                raise where.error(f"Wrong OpenSSH configuration: {ex}") from ex

    def _item(self, name: str, rest: str, path: str, number: int, depth: int) -> Item:
        keyword = ALIASES.get(name.lower(), name.lower())
        if keyword not in KNOWN:
            # Whether that is an error depends on IgnoreUnknown, and that on the host.
            return Line(keyword, (rest,), name, path, number, known=False)
        if not rest:
            raise SSHConfigError(f"{name} has no argument")
        words = tuple(syntax.words(rest))
        if keyword in WHOLE_LINE:
            words = (rest.lstrip(" \t="),)
        line = Line(keyword, words, name, path, number)
        if keyword == "match":
            return MatchLine(tuple(_criteria(rest)), line)
        if not words and keyword in USED:
            raise SSHConfigError(f"{name} has no argument")
        if keyword == "host":
            plain = not any(char in word for word in words for char in "*?!")
            return HostLine(words, frozenset(words) if plain else None)
        if keyword == "include":
            return IncludeLine(tuple(self._included(words, depth)))
        if len(words) > 1 and keyword in USED - SEVERAL_WORDS:
            raise SSHConfigError(f"{name} has more than one argument")
        return line

    def _included(self, patterns: Sequence[str], depth: int) -> Iterator[ConfigFile]:
        for pattern in patterns:
            if pattern.startswith("~") and not self._user:
                raise SSHConfigError("Include of a system's file must not name a home folder")
            folder = "~/.ssh" if self._user else os.path.dirname(SYSTEM_FILE)
            if not pattern.startswith(("/", "~")):
                pattern = f"{folder}/{pattern}"
            for path in sorted(glob.glob(os.path.expanduser(pattern))):
                try:
                    yield self.read(path, depth + 1)
                except FileNotFoundError:
                    continue


def _blocks(items: Iterable[Item]) -> Iterator[Block]:
    condition: HostLine | MatchLine | None = None
    inside: list[Line | IncludeLine] = []
    for item in items:
        if isinstance(item, Line | IncludeLine):
            inside.append(item)
        else:
            yield _block(condition, inside)
            condition, inside = item, []
    yield _block(condition, inside)


def _block(condition: HostLine | MatchLine | None, inside: Sequence[Line | IncludeLine]) -> Block:
    # An option that is not known is an error, and Match final takes effect, wherever it stands.
    watched = any(isinstance(item, IncludeLine) or not item.known for item in inside)
    return Block(condition, tuple(inside), watched)


def _check_owner(path: str, status: os.stat_result) -> None:
    """Who can write a configuration can run commands as its user."""
    if status.st_uid not in (0, os.getuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SSHConfigError(
            "OpenSSH configuration %s may have been written by somebody else: check its owner "
            "and permissions",
            path,
            path=path,
        )


def _criteria(text: str) -> Iterator[Criterion]:
    words = syntax.criteria(text)
    if not words:
        raise SSHConfigError("Match has no criteria")
    at = before = 0
    while at < len(words):
        negated = words[at].startswith("!")
        kind = words[at].lower().removeprefix("!")
        argument = ""
        if kind == "all":
            if before > 1 or at + 1 < len(words):
                raise SSHConfigError("Match all takes no other criteria")
        elif kind in WITH_ARGUMENT:
            at += 1
            argument = words[at] if at < len(words) else ""
            if not argument:
                raise SSHConfigError(f"the criterion {kind} of Match has no argument")
        elif kind not in ALONE:
            raise SSHConfigError(f"the criterion {kind} of Match is not known here")
        yield Criterion(kind, argument, negated)
        at += 1
        before += 1
