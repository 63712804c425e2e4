"""What an SFTP server knows of a file, under the names of :class:`os.stat_result`."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from pssh.sftp.attributes import Attributes


@dataclass(frozen=True, slots=True)
class SFTPAttributes:
    """A file's attributes (draft-ietf-secsh-filexfer-02 section 5).

    What a server does not tell is ``None``; the common ones tell everything.

    :ivar st_mode: the type and the permissions, for the functions of :mod:`stat`.
    :ivar st_size: in bytes.
    :ivar st_uid: number of the user that owns it.
    :ivar st_gid: number of its group.
    :ivar st_atime: when it was last read, in whole seconds since 1970.
    :ivar st_mtime: when it was last changed, in whole seconds since 1970.
    """

    st_mode: int | None = None
    st_size: int | None = None
    st_uid: int | None = None
    st_gid: int | None = None
    st_atime: int | None = None
    st_mtime: int | None = None

    @classmethod
    def of(cls, attributes: Attributes) -> SFTPAttributes:
        """Make one of what the server sent."""
        return cls(
            st_mode=attributes.permissions,
            st_size=attributes.size,
            st_uid=attributes.uid,
            st_gid=attributes.gid,
            st_atime=attributes.atime,
            st_mtime=attributes.mtime,
        )

    def is_dir(self) -> bool:
        """Whether it is known to be a directory."""
        return stat.S_ISDIR(self.st_mode or 0)

    def is_file(self) -> bool:
        """Whether it is known to be a regular file."""
        return stat.S_ISREG(self.st_mode or 0)

    def is_symlink(self) -> bool:
        """Whether it is known to be a symbolic link."""
        return stat.S_ISLNK(self.st_mode or 0)


@dataclass(frozen=True, slots=True)
class SFTPDirEntry:
    """An entry of a directory, like :class:`os.DirEntry`.

    Everything is from the listing, so that asking costs nothing; of a symbolic link it is what
    the link itself is, never what it points to.

    :ivar name: its name.
    :ivar path: the directory's path as it was given, and the name.
    """

    name: str
    path: str
    _attributes: SFTPAttributes

    def stat(self) -> SFTPAttributes:
        """Return its attributes, as of when the directory was read."""
        return self._attributes

    def is_dir(self) -> bool:
        """Whether it is known to be a directory."""
        return self._attributes.is_dir()

    def is_file(self) -> bool:
        """Whether it is known to be a regular file."""
        return self._attributes.is_file()

    def is_symlink(self) -> bool:
        """Whether it is known to be a symbolic link."""
        return self._attributes.is_symlink()

    def __fspath__(self) -> str:
        return self.path
