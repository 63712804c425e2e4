"""What the files of a copy over SFTP have in common."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass, field

from pssh.clients.base.files.local import Sources
from pssh.clients.base.files.options import CopyOptions, Meter, Rate
from pssh.clients.base.files.session import SFTPSession
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

    def meter(self, path: bytes, size: int) -> Meter:
        """Make what tells how far the copy of a file has got.

        :param path: its remote path.
        :param size: its length in bytes.
        """
        return Meter(self.session.host, decode_name(path), size, self.options.progress)


def beside(path: bytes) -> bytes:
    """Return the path of a new file in the same directory."""
    head, slash, name = path.rpartition(b"/")
    # A long name has to stay within what file systems allow.
    return head + slash + b"." + name[:200] + b"." + secrets.token_hex(6).encode() + b".part"


def attributes_of(status: os.stat_result, *, times: bool) -> Attributes:
    """Return what of a local file's attributes its copy is given.

    :param times: whether it keeps its times.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not times:
        return Attributes(permissions=mode)
    return Attributes(
        permissions=mode, atime=_seconds(status.st_atime), mtime=_seconds(status.st_mtime)
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
    return (attributes.atime or attributes.mtime) * 10**9, attributes.mtime * 10**9


def _seconds(time: float) -> int:
    """Return a time as SFTP version 3 can say it: 32 bits of whole seconds."""
    return max(0, min(int(time), 0xFFFFFFFF))
