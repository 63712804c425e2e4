"""The decision whether the server is the one that it should be."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from pssh import known_hosts_file
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.threads import in_thread
from pssh.exceptions import HostKeyError, HostKeyMismatchError, UnknownHostKeyError
from pssh.known_hosts import HostKeyCheck, HostKeyStatus, KnownHostsIndex, load
from pssh.known_hosts_line import fingerprint, format_line
from pssh.utils import logger

#: For so many seconds what was read counts as current without asking the disk.
_FRESH_SECONDS = 1.0

#: What a deadline is about.
_STEP = "check the host key"


class KnownHosts:
    """The known_hosts files of a client, read once for all its hosts.

    :param paths: the files; new keys go to the first.
    """

    __slots__ = ("_checked_at", "_index", "_lock", "_reading", "paths")

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = [os.path.expanduser(path) for path in paths]
        self._index: KnownHostsIndex | None = None
        self._checked_at = -math.inf
        #: Held by who reads the files, or writes one.
        self._lock = BoundedSemaphore(1)
        #: What is being read, for the others who want it.
        self._reading: AsyncResult | None = None

    def index(self, host: str, port: int, timeout: float | None = None) -> KnownHostsIndex:
        """Return what the files say now.

        :param host: who asks, for the message.
        :param port: its port.
        :param timeout: seconds that the files may take to be read.
        :raises HostKeyError: when a file is there and cannot be read.
        :raises Timeout: when that takes longer.
        """
        index = self._fresh()
        if index is not None:
            return index
        with Deadline(timeout, host, port, _STEP):
            # A hundred hosts that begin at once wait for one who reads, and not for each other.
            while self._reading is not None:
                found: KnownHostsIndex | None = self._reading.get()
                if found is not None:
                    return found
            return self._read_for_all(host, port)

    def _fresh(self) -> KnownHostsIndex | None:
        """What the files say, where that was read or compared with them just now."""
        if time.monotonic() - self._checked_at < _FRESH_SECONDS:
            return self._index
        return None

    def _read_for_all(self, host: str, port: int) -> KnownHostsIndex:
        self._reading = reading = AsyncResult()
        index = None
        try:
            with self._lock:
                index = self._freshen(host, port)
            return index
        finally:
            self._reading = None
            # Where that has failed, each finds out for itself.
            reading.set(index)

    def _freshen(self, host: str, port: int) -> KnownHostsIndex:
        """What the files say now, for who has the lock."""
        index = self._fresh()
        if index is None:
            self._index = index = self._read(host, port)
            self._checked_at = time.monotonic()
        return index

    def _read(self, host: str, port: int) -> KnownHostsIndex:
        known = self._index
        try:
            if known is not None and in_thread(known.is_current):
                return known
            return in_thread(load, self.paths)
        except OSError as ex:
            raise HostKeyError(
                "The key of host %s:%s cannot be checked: %s", host, port, ex, host=host, port=port
            ) from ex

    def key_types(
        self, host: str, port: int, name: tuple[str, int], timeout: float | None = None
    ) -> list[str]:
        """Return the types of the keys on record for a host.

        :param host: the name that the user gave.
        :param port: the port.
        :param name: host and port under which the key is on record.
        :param timeout: seconds that the files may take to be read.
        """
        return self.index(host, port, timeout).key_types(*name)

    def verify(
        self,
        host: str,
        port: int,
        key_type: str,
        blob: bytes,
        policy: str,
        name: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Accept a server's key, or raise.

        :param host: the name that the user gave.
        :param port: the port.
        :param key_type: the type of the key.
        :param blob: the key.
        :param policy: ``"strict"``, or ``"accept-new"``: record the key of an unknown host.
        :param name: host and port under which the key is on record, where it is another.
        :param timeout: seconds that the files may take to be read, and to be written.
        :raises UnknownHostKeyError: when the host is unknown under ``"strict"``.
        :raises HostKeyMismatchError: when another key is on record, or this one is revoked.
        """
        name = name or (host, port)
        check = self.index(host, port, timeout).check(*name, key_type, blob)
        if check.status is HostKeyStatus.KNOWN:
            return
        if check.status is not HostKeyStatus.UNKNOWN:
            raise _mismatch(host, port, key_type, blob, check)
        if policy == "strict":
            raise UnknownHostKeyError(
                "Host %s:%s is in none of the known_hosts files (%s) and host_key_policy is "
                "strict. Its %s key has the fingerprint %s",
                host,
                port,
                ", ".join(self.paths),
                key_type,
                fingerprint(blob),
                host=host,
                port=port,
                key_type=key_type,
                fingerprint=fingerprint(blob),
            )
        with Deadline(timeout, host, port, _STEP):
            self._record(host, port, key_type, blob, name)

    def _record(
        self, host: str, port: int, key_type: str, blob: bytes, name: tuple[str, int]
    ) -> None:
        """Append a new host's key; as OpenSSH does, go on when that is not possible."""
        with self._lock:
            # Another connection to the same host may have recorded it in the meantime.
            check = self._freshen(host, port).check(*name, key_type, blob)
            if check.status is HostKeyStatus.KNOWN:
                return
            if check.status is not HostKeyStatus.UNKNOWN:
                raise _mismatch(host, port, key_type, blob, check)
            if not self.paths:
                logger.warning("Host %s:%s is new, and there is no known_hosts file", host, port)
                return
            try:
                line = format_line(*name, key_type, blob)
                appended = in_thread(known_hosts_file.append, self.paths[0], line)
            except (OSError, ValueError) as ex:
                logger.warning("The key of host %s:%s could not be recorded: %s", host, port, ex)
                return
            self._freshen(host, port).add(appended)
        logger.info("Recorded the %s key of new host %s:%s", key_type, host, port)


def _mismatch(
    host: str, port: int, key_type: str, blob: bytes, check: HostKeyCheck
) -> HostKeyMismatchError:
    shown, entry = fingerprint(blob), check.entry
    values: tuple[object, ...]
    path, line = (entry.path, entry.line) if entry is not None else (None, None)
    known = fingerprint(entry.key) if entry is not None else None
    if check.status is HostKeyStatus.REVOKED:
        message = "Host %s:%s showed the %s key %s, which is revoked (%s line %s)"
        values = (host, port, key_type, shown, path, line)
    else:
        message = (
            "The key of host %s:%s has changed: it showed the %s key %s, on record is %s "
            "(%s line %s). Either the host was set up anew, or somebody is in between"
        )
        values = (host, port, key_type, shown, known, path, line)
    return HostKeyMismatchError(
        message,
        *values,
        host=host,
        port=port,
        key_type=key_type,
        fingerprint=shown,
        known_fingerprint=known,
        known_hosts=path,
        line=line,
    )
