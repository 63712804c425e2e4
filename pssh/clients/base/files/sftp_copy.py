"""What the files of a copy over SFTP have in common."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass, field

from pssh.clients.base.files.options import CopyOptions, Meter, Rate
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.source import Source, Sources
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import decode_name


@dataclass(slots=True)
class SFTPCopy:
    """Copies of files over a session, with the same options.

    :param session: the SFTP session.
    :param sources: the local files that other hosts are being sent.
    :param options: how to copy.
    :param rate: holds all files of the copy back together.
    """

    session: SFTPSession
    sources: Sources
    options: CopyOptions
    rate: Rate
    #: Remote files that are to be removed again, and whether each was begun for certain.
    left: dict[bytes, bool] = field(default_factory=dict)
    #: By the monotonic clock.
    began: float = field(default_factory=time.monotonic)

    def open_source(self, path: str) -> contextlib.AbstractContextManager[Source]:
        """Open a local file, or share it with other hosts that it is being sent to.

        :param path: its path.
        """
        return self.sources.open(path, self.began)

    def meter(self, path: bytes, size: int) -> Meter:
        """Make what tells how far the copy of a file has got.

        :param path: its remote path.
        :param size: its length in bytes.
        """
        return Meter(self.session.host, decode_name(path), size, self.options.progress)


def attributes_of(status: os.stat_result, *, times: bool) -> Attributes:
    """Return what of a local file's attributes its copy is given.

    :param times: whether it keeps its times.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not times:
        return Attributes(permissions=mode)
    return Attributes(
        permissions=mode, atime=_seconds(status.st_atime_ns), mtime=_seconds(status.st_mtime_ns)
    )


def mode_of(attributes: Attributes) -> int | None:
    """Return the permissions that the copy of a remote file gets here.

    Without the set-user-ID, set-group-ID and sticky bits, as OpenSSH's clients do: what a server
    sends must not run with the rights of who fetches it.

    :returns: ``None`` where the server does not say.
    """
    return None if attributes.mode is None else attributes.mode & 0o777


def times_of(attributes: Attributes) -> tuple[int, int] | None:
    """Return when a remote file was read and changed last, in nanoseconds.

    :returns: ``None`` where the server does not say.
    """
    if attributes.mtime is None:
        return None
    read = attributes.mtime if attributes.atime is None else attributes.atime
    return read * 10**9, attributes.mtime * 10**9


def _seconds(nanoseconds: int) -> int:
    """Return a time as SFTP version 3 can say it: 32 bits of whole seconds."""
    # Not of a float, which has no room for nanoseconds since 1970 and may round up.
    return max(0, min(nanoseconds // 10**9, 0xFFFFFFFF))
