"""What a server knows of a file (draft-ietf-secsh-filexfer-02 section 5). Pure."""

from __future__ import annotations

import stat
import struct
from typing import NamedTuple

from pssh.sftp.constants import SSH_FILEXFER_ATTR_EXTENDED
from pssh.sftp.fields import UINT32, FieldError, read_string, read_uint32

#: Flag -> the fields that it stands for, in the order in which they are sent.
_FIELDS = (("size",), ("uid", "gid"), ("permissions",), ("atime", "mtime"))
_KNOWN_FLAGS = 0x0F

#: Set of flags -> the names, and the form, of the fields that are sent with it.
_NAMES = [
    tuple(name for bit, names in enumerate(_FIELDS) if flags >> bit & 1 for name in names)
    for flags in range(_KNOWN_FLAGS + 1)
]
_FORMS = [
    struct.Struct(">" + "".join("Q" if name == "size" else "I" for name in names))
    for names in _NAMES
]


class Attributes(NamedTuple):
    """A file's attributes; what is ``None`` is not known, or not to be changed.

    :param size: in bytes.
    :param uid: number of the user that owns the file; only together with ``gid``.
    :param gid: number of its group.
    :param permissions: the type and the mode of the file, as ``st_mode`` in stat(2).
    :param atime: when it was last read, in seconds since 1970; only together with ``mtime``.
    :param mtime: when it was last changed, in seconds since 1970.
    """

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    permissions: int | None = None
    atime: int | None = None
    mtime: int | None = None

    @property
    def file_type(self) -> int | None:
        """The type as in ``stat.S_IFMT``, such as ``stat.S_IFREG``; ``None`` if not known."""
        # Servers that only know the mode leave the type zero.
        return stat.S_IFMT(self.permissions or 0) or None

    @property
    def mode(self) -> int | None:
        """The permissions without the type, as chmod(2) takes them; ``None`` if not known."""
        return None if self.permissions is None else stat.S_IMODE(self.permissions)

    @property
    def is_dir(self) -> bool:
        """Whether it is known to be a directory."""
        return self.file_type == stat.S_IFDIR

    @property
    def is_file(self) -> bool:
        """Whether it is known to be a regular file."""
        return self.file_type == stat.S_IFREG

    @property
    def is_symlink(self) -> bool:
        """Whether it is known to be a symbolic link."""
        return self.file_type == stat.S_IFLNK

    def encode(self) -> bytes:
        """Return the attributes as they stand in a packet.

        :raises ValueError: when one of a pair is missing, or a value does not fit: sizes have
            64 bits, everything else has 32, and nothing is negative.
        """
        flags = 0
        for bit, names in enumerate(_FIELDS):
            present = [getattr(self, name) is not None for name in names]
            if any(present):
                flags |= 1 << bit
                if not all(present):
                    raise ValueError(f"SFTP sets {' and '.join(names)} only together")
        values = [value for value in self if value is not None]
        try:
            return UINT32.pack(flags) + _FORMS[flags].pack(*values)
        except struct.error as error:
            raise ValueError(f"SFTP version 3 cannot express {self}: {error}") from error


def decode(data: bytes, at: int) -> tuple[Attributes, int]:
    """Read attributes from a packet; extended ones are passed over.

    :param data: the packet.
    :param at: where they begin.
    :returns: the attributes, and where the next field begins.
    :raises FieldError: when the packet ends in them.
    """
    flags, at = read_uint32(data, at)
    # Flags that version 3 does not know are ignored, as OpenSSH does: it cannot be known whether
    # fields belong to them.
    known = flags & _KNOWN_FLAGS
    form = _FORMS[known]
    if at + form.size > len(data):
        raise FieldError("ends too early")
    values = form.unpack_from(data, at)
    at += form.size
    if flags & SSH_FILEXFER_ATTR_EXTENDED:
        at = _after_extended(data, at)
    if known == _KNOWN_FLAGS:
        return Attributes(*values), at
    return Attributes(**dict(zip(_NAMES[known], values, strict=True))), at


def _after_extended(data: bytes, at: int) -> int:
    count, at = read_uint32(data, at)
    # Each takes 8 bytes at least, so that a count that does not fit ends soon.
    for _ in range(2 * count):
        _, at = read_string(data, at)
    return at
