"""Which host keys are on record: an index over known_hosts files.

Looking a host up does not read the files again, and its cost does not grow with their length
(except for hashed names, see :class:`KnownHostsIndex`).
"""

from __future__ import annotations

import enum
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pssh import known_hosts_file
from pssh.known_hosts_file import Appended, FileStamp, append
from pssh.known_hosts_line import (
    DEFAULT_PORT,
    KnownHostEntry,
    fingerprint,
    format_line,
    key_identity,
    lookup_name,
    parse,
    split_hashed,
)

__all__ = [
    "Appended",
    "HostKeyCheck",
    "HostKeyStatus",
    "KnownHostEntry",
    "KnownHostsIndex",
    "append",
    "fingerprint",
    "format_line",
    "load",
    "lookup_name",
    "parse",
]


class HostKeyStatus(enum.Enum):
    """What the known_hosts files say of a key that a host offers."""

    KNOWN = "known"  #: on record for that host
    UNKNOWN = "unknown"  #: no key is on record for that host
    CHANGED = "changed"  #: only other keys are on record for that host
    REVOKED = "revoked"  #: marked as one that must be refused


@dataclass(frozen=True, slots=True)
class HostKeyCheck:
    """What became of checking a key.

    :param status: Whether the key is known.
    :param entry: The line that decided: the one that has the key (known, revoked) or one that
        has another key for that host (changed); ``None`` for an unknown host.
    """

    status: HostKeyStatus
    entry: KnownHostEntry | None = None


class _Patterns:
    """A list of host names and patterns at least one of which has a wildcard or is negated."""

    __slots__ = ("_negated", "_wanted")

    def __init__(self, hosts: bytes) -> None:
        patterns = hosts.lower().split(b",")
        self._wanted = _wildcards(p for p in patterns if not p.startswith(b"!"))
        self._negated = _wildcards(p[1:] for p in patterns if p.startswith(b"!"))

    def match(self, name: bytes) -> bool:
        # One negated match outweighs any number of others, wherever in the list it stands.
        return bool(self._wanted.fullmatch(name)) and not self._negated.fullmatch(name)


def _wildcards(patterns: Iterable[bytes]) -> re.Pattern[bytes]:
    alternatives = []
    stars = 0
    for pattern in patterns:
        parts = pattern.split(b"*")
        first, *rest = (re.escape(part).replace(rb"\?", b".") for part in parts)
        expression = first
        for part in rest[:-1]:
            # A look-ahead is never tried again: taking the first place where a part fits is
            # right for a '*', and keeps "*a*a*a*a*" from taking exponential time.
            stars += 1
            expression += b"(?=(?P<g%d>.*?%b))(?P=g%d)" % (stars, part, stars)
        alternatives.append(expression + (b".*" + rest[-1] if rest else b""))
    # Without any pattern this matches the empty name alone, which is no host's.
    return re.compile(b"|".join(alternatives), re.DOTALL)


_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class _Salt:
    """The hashed names that share a salt."""

    __slots__ = ("_inner", "_outer", "entries")

    def __init__(self, salt: bytes) -> None:
        # HMAC (RFC 2104) with the part that depends on the key alone done in advance, which
        # takes half the time per name that hmac.digest does.
        block = salt.ljust(64, b"\0")
        self._inner = hashlib.sha1(block.translate(_INNER_PAD), usedforsecurity=False)
        self._outer = hashlib.sha1(block.translate(_OUTER_PAD), usedforsecurity=False)
        self.entries: dict[bytes, list[int]] = {}

    def lookup(self, name: bytes) -> list[int]:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(name)
        outer.update(inner.digest())
        return self.entries.get(outer.digest(), [])


@dataclass(slots=True)
class _File:
    stamp: FileStamp | None
    lines: int


class KnownHostsIndex:
    """The keys on record in any number of known_hosts files; :func:`load` makes one.

    Cost of looking a host up: one dictionary access, one comparison per line with a wildcard or
    a negated name, and one HMAC-SHA1 (about a microsecond) per salt of the hashed names.
    ``ssh-keygen -H`` gives each line a salt of its own, and there is no way to tell which hash
    is whose without computing it: that is the point of hashing. So 10,000 hashed lines cost
    about 10 ms for each name, once, because the result is kept for as long as the index.
    """

    def __init__(self) -> None:
        # The tables hold positions in the list of entries, so that what was found in several
        # of them can be put in the order of the files.
        self._entries: list[KnownHostEntry] = []
        self._literal: dict[bytes, list[int]] = {}
        self._patterns: list[tuple[_Patterns, int]] = []
        self._compiled: dict[bytes, _Patterns] = {}
        self._salts: dict[bytes, _Salt] = {}
        self._hash_results: dict[bytes, list[int]] = {}
        # So that checking a key need not look at each "@revoked *" line.
        self._revoked_keys: set[tuple[bytes, ...]] = set()
        self._files: dict[str, _File] = {}

    def add_file(self, path: str, data: bytes, stamp: FileStamp | None) -> None:
        """Add the content of a file, after what was added before.

        :param path: The file's name.
        :param data: Its content.
        :param stamp: Its state when it was read, ``None`` if there was no such file.
        """
        for entry in parse(data, path):
            self._add_entry(entry)
        lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
        self._files[path] = _File(stamp, lines)

    def add(self, appended: Appended) -> KnownHostEntry:
        """Add a line that has just been appended to a file, without reading the file again.

        The index stays current if that line is all that the file has gained. Lines that were
        appended to the same file one after the other have to be added in that order.

        :param appended: What :func:`append` returned.
        :returns: The new entry. Its line number is 0 if something else was written to the file
            as well (the index is outdated then), or if the file is none of this index's.
        :raises ValueError: If the line is not one that puts a key on record.
        """
        file = self._files.get(appended.path)
        if file is not None and appended.follows(file.stamp):
            file.stamp = appended.after
            file.lines += 1
            number = file.lines
        else:
            number = 0
        for entry in parse(appended.line, appended.path):
            placed = KnownHostEntry(
                entry.key_type, entry.key, entry.revoked, entry.path, number, entry.hosts
            )
            self._add_entry(placed)
            return placed
        raise ValueError(f"Not a line that puts a host key on record: {appended.line!r}")

    def is_current(self) -> bool:
        """Whether the files are still as they were read. Asks the file system: may wait.

        :returns: ``False`` if a file was changed, created, removed or replaced, or if the
            system does not tell (reading it again will say why).
        """
        try:
            return all(known_hosts_file.stamp(p) == f.stamp for p, f in self._files.items())
        except OSError:
            return False

    def lookup(self, host: str, port: int) -> list[KnownHostEntry]:
        """What is on record for a host, revoked keys included.

        :param host: Name or address, in any case.
        :param port: TCP port.
        :returns: The entries that name the host, in the order of the files.
        """
        name = lookup_name(host, port)
        positions = self._literal.get(name, [])
        if self._salts or self._patterns:
            found = {*positions, *self._lookup_hashed(name)}
            found.update(position for patterns, position in self._patterns if patterns.match(name))
            positions = sorted(found)
        return [self._entries[position] for position in positions]

    def key_types(self, host: str, port: int) -> list[str]:
        """The types of the keys by which a host is known, to be asked for before any other.

        :param host: Name or address.
        :param port: TCP port.
        :returns: Key types, in the order of the files, those without a key that would be
            accepted left out. Note that ``ssh-rsa`` is a type of key here, which the signature
            algorithms ``rsa-sha2-512`` and ``rsa-sha2-256`` (RFC 8332) use too.
        """
        entries = self._accepting(host, port) or self._vouching(host, port)
        if self._revoked_keys:
            entries = [e for e in entries if self._find_revoked(host, port, e.key) is None]
        return list(dict.fromkeys([entry.key_type for entry in entries]))

    def check(self, host: str, port: int, key_type: str, key_blob: bytes) -> HostKeyCheck:
        """Whether a key that a host offers is the one on record.

        :param host: Name or address.
        :param port: TCP port.
        :param key_type: Type of the offered key; which entry a changed key is reported with.
        :param key_blob: The offered key, RFC 4253 section 6.6.
        """
        revoked = self._find_revoked(host, port, key_blob)
        if revoked is not None:
            return HostKeyCheck(HostKeyStatus.REVOKED, revoked)
        own = self._accepting(host, port)
        for entry in own:
            if entry.key == key_blob:
                return HostKeyCheck(HostKeyStatus.KNOWN, entry)
        if own:
            # Keys of other types count as well, as they do for OpenSSH: an attacker must not
            # get in by offering a type that happens not to be on record. The true server is
            # not shut out by this, because the types on record are asked for first.
            conflict = next((entry for entry in own if entry.key_type == key_type), own[0])
            return HostKeyCheck(HostKeyStatus.CHANGED, conflict)
        for entry in self._vouching(host, port):
            if entry.key == key_blob:
                return HostKeyCheck(HostKeyStatus.KNOWN, entry)
        return HostKeyCheck(HostKeyStatus.UNKNOWN)

    def _accepting(self, host: str, port: int) -> list[KnownHostEntry]:
        """The entries for a host and its port that accept a key."""
        return [entry for entry in self.lookup(host, port) if not entry.revoked]

    def _vouching(self, host: str, port: int) -> list[KnownHostEntry]:
        """The entries that accept a key where nothing is on record for the port."""
        # OpenSSH does so too ("checking without port identifier"): a key of the same host on
        # port 22 is accepted. Another key there means nothing: each port may have a server of
        # its own.
        return [] if port == DEFAULT_PORT else self._accepting(host, DEFAULT_PORT)

    def _find_revoked(self, host: str, port: int, key_blob: bytes) -> KnownHostEntry | None:
        if not self._revoked_keys:
            return None
        identity = key_identity(key_blob)
        if identity not in self._revoked_keys:
            return None
        # A stolen key is stolen on every port, so that "@revoked host" holds for all of them.
        # OpenSSH warns and then goes on as if the key was new, which is of no use here.
        for any_port in dict.fromkeys((port, DEFAULT_PORT)):
            for entry in self.lookup(host, any_port):
                if entry.revoked and key_identity(entry.key) == identity:
                    return entry
        return None

    def _add_entry(self, entry: KnownHostEntry) -> None:
        position = len(self._entries)
        self._entries.append(entry)
        if entry.revoked:
            self._revoked_keys.add(key_identity(entry.key))
        hosts = entry.hosts
        if hashed := split_hashed(hosts):
            salt, digest = hashed
            if salt not in self._salts:
                self._salts[salt] = _Salt(salt)
            self._salts[salt].entries.setdefault(digest, []).append(position)
            self._hash_results.clear()
        elif any(character in hosts for character in b"*?!"):
            # The same patterns often stand in several lines, one for each type of key.
            if hosts not in self._compiled:
                self._compiled[hosts] = _Patterns(hosts)
            self._patterns.append((self._compiled[hosts], position))
        else:
            for name in dict.fromkeys(hosts.lower().split(b",")):
                self._literal.setdefault(name, []).append(position)

    def _lookup_hashed(self, name: bytes) -> list[int]:
        if not self._salts:
            return []  # nothing to remember for 10,000 names
        if name not in self._hash_results:
            found = (salt.lookup(name) for salt in self._salts.values())
            self._hash_results[name] = [position for positions in found for position in positions]
        return self._hash_results[name]


def load(paths: Iterable[str | os.PathLike[str]]) -> KnownHostsIndex:
    """Read known_hosts files. Waits for the disk: not to be called on an event loop.

    :param paths: The files, the most important first; ones that do not exist are looked for
        again by :meth:`KnownHostsIndex.is_current`.
    :returns: Their index.
    :raises OSError: If a file is there but cannot be read.
    """
    index = KnownHostsIndex()
    for path in dict.fromkeys(os.fspath(path) for path in paths):
        index.add_file(path, *known_hosts_file.read(path))
    return index
