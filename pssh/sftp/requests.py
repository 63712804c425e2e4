"""What a server may be asked for (draft-ietf-secsh-filexfer-02 section 6). Pure.

Each function returns a :class:`Request`, which :meth:`pssh.sftp.exchange.Exchange.send` turns into
a packet. Paths, names and handles are bytes; see :mod:`pssh.sftp.names` for the rest.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from pssh.sftp import constants
from pssh.sftp.attributes import Attributes
from pssh.sftp.fields import UINT32, string

_HEADER = struct.Struct(">IBI")
_READ = struct.Struct(">QI")
_MAX_OFFSET = 1 << 64

NO_ATTRIBUTES = Attributes()


class Expects(enum.Enum):
    """What a request is answered with. Each may get an SSH_FXP_STATUS instead, for an error."""

    STATUS = "a status"
    HANDLE = "a handle"
    DATA = "data"
    NAMES = "names"
    ONE_NAME = "one name"
    ATTRIBUTES = "attributes"
    STATVFS = "the state of a file system"
    LIMITS = "limits"
    EXTENDED = "the reply of an extension"


class Request(NamedTuple):
    """A request without its id.

    :ivar kind: the type of its packet.
    :ivar body: what follows the id.
    :ivar expects: what it is answered with.
    :ivar asked: how much data it asks for, in bytes.
    :ivar payload: how much data has to follow the packet, in bytes.
    """

    kind: int
    body: bytes
    expects: Expects = Expects.STATUS
    asked: int = 0
    payload: int = 0

    @property
    def length(self) -> int:
        """What the packet has without its length field, in bytes, the payload included."""
        return 5 + len(self.body) + self.payload

    def packet(self, request_id: int) -> bytes:
        """Return the packet, without the payload.

        :param request_id: 32 bits.
        """
        return _HEADER.pack(self.length, self.kind, request_id) + self.body


def init() -> bytes:
    """Return the packet that begins a session (section 4). It has no id and no extensions."""
    return struct.pack(">IBI", 5, constants.SSH_FXP_INIT, constants.PROTOCOL_VERSION)


# Files


def open_file(path: bytes, flags: int, attributes: Attributes = NO_ATTRIBUTES) -> Request:
    """Open a file.

    :param flags: ``SSH_FXF_…``, combined.
    :param attributes: for a new file, most of all its permissions.
    """
    body = string(path) + UINT32.pack(flags) + attributes.encode()
    return Request(constants.SSH_FXP_OPEN, body, Expects.HANDLE)


def close(handle: bytes) -> Request:
    """Close a file or directory. The handle is gone even when that fails."""
    return Request(constants.SSH_FXP_CLOSE, string(handle))


def read(handle: bytes, offset: int, length: int) -> Request:
    """Read from a file; less may come, and SSH_FX_EOF where nothing is left.

    :param offset: in bytes, from the beginning of the file.
    :param length: in bytes, from 1 to ``limits.max_read``.
    :raises ValueError: when one of the numbers is impossible.
    """
    body = string(handle) + _offset_and_length(offset, length)
    return Request(constants.SSH_FXP_READ, body, Expects.DATA, asked=length)


def write_header(handle: bytes, offset: int, length: int) -> Request:
    """Write to a file. The packet is only what comes before the data, which has to follow it.

    So a block of data is sent as it is, without a copy with a header in front.

    :param offset: in bytes, from the beginning of the file.
    :param length: of the data that follows, in bytes, from 1 to ``limits.max_write``.
    :raises ValueError: when one of the numbers is impossible.
    """
    body = string(handle) + _offset_and_length(offset, length)
    return Request(constants.SSH_FXP_WRITE, body, payload=length)


def fsync(handle: bytes) -> Request:
    """Have what was written to a file brought to its disk (fsync@openssh.com)."""
    return extended(constants.FSYNC, string(handle))


# Attributes


def lstat(path: bytes) -> Request:
    """Ask for attributes; of a symbolic link its own."""
    return Request(constants.SSH_FXP_LSTAT, string(path), Expects.ATTRIBUTES)


def stat(path: bytes) -> Request:
    """Ask for attributes; of a symbolic link those of what it points to."""
    return Request(constants.SSH_FXP_STAT, string(path), Expects.ATTRIBUTES)


def fstat(handle: bytes) -> Request:
    """Ask for the attributes of an open file."""
    return Request(constants.SSH_FXP_FSTAT, string(handle), Expects.ATTRIBUTES)


def setstat(path: bytes, attributes: Attributes) -> Request:
    """Change attributes; of a symbolic link those of what it points to."""
    return Request(constants.SSH_FXP_SETSTAT, string(path) + attributes.encode())


def fsetstat(handle: bytes, attributes: Attributes) -> Request:
    """Change the attributes of an open file."""
    return Request(constants.SSH_FXP_FSETSTAT, string(handle) + attributes.encode())


def lsetstat(path: bytes, attributes: Attributes) -> Request:
    """Change attributes; of a symbolic link its own (lsetstat@openssh.com)."""
    return extended(constants.LSETSTAT, string(path) + attributes.encode())


# Directories


def opendir(path: bytes) -> Request:
    """Open a directory, to list it."""
    return Request(constants.SSH_FXP_OPENDIR, string(path), Expects.HANDLE)


def readdir(handle: bytes) -> Request:
    """Ask for the next names in an open directory, ``.`` and ``..`` among them.

    SSH_FX_EOF is the answer when there are no more. No names at all mean the same, as for OpenSSH.
    """
    return Request(constants.SSH_FXP_READDIR, string(handle), Expects.NAMES)


def mkdir(path: bytes, attributes: Attributes = NO_ATTRIBUTES) -> Request:
    """Make a directory.

    :param attributes: for the new directory, most of all its permissions.
    """
    return Request(constants.SSH_FXP_MKDIR, string(path) + attributes.encode())


def rmdir(path: bytes) -> Request:
    """Remove an empty directory."""
    return Request(constants.SSH_FXP_RMDIR, string(path))


# Names


def remove(path: bytes) -> Request:
    """Remove a file."""
    return Request(constants.SSH_FXP_REMOVE, string(path))


def rename(old: bytes, new: bytes) -> Request:
    """Rename a file; fails where the new name exists (section 6.5)."""
    return Request(constants.SSH_FXP_RENAME, string(old) + string(new))


def posix_rename(old: bytes, new: bytes) -> Request:
    """Rename a file over what has the new name, as rename(2) does (posix-rename@openssh.com)."""
    return extended(constants.POSIX_RENAME, string(old) + string(new))


def realpath(path: bytes) -> Request:
    """Ask for the absolute path; of ``.`` it is the directory that relative paths start from."""
    return Request(constants.SSH_FXP_REALPATH, string(path), Expects.ONE_NAME)


def readlink(path: bytes) -> Request:
    """Ask where a symbolic link points to."""
    return Request(constants.SSH_FXP_READLINK, string(path), Expects.ONE_NAME)


def symlink(target: bytes, link: bytes) -> Request:
    """Make a symbolic link.

    :param target: what it points to, which need not exist.
    :param link: the path of the new link.
    """
    # The draft has the link first. OpenSSH's server had them reversed by mistake from the start,
    # and kept it (PROTOCOL, section 4.1); the other servers follow it.
    return Request(constants.SSH_FXP_SYMLINK, string(target) + string(link))


def hardlink(old: bytes, new: bytes) -> Request:
    """Give a file one more name (hardlink@openssh.com)."""
    return extended(constants.HARDLINK, string(old) + string(new))


# Extensions


def statvfs(path: bytes) -> Request:
    """Ask for the state of the file system that a path is on (statvfs@openssh.com)."""
    return extended(constants.STATVFS, string(path), Expects.STATVFS)


def fstatvfs(handle: bytes) -> Request:
    """Ask for the state of the file system that an open file is on (fstatvfs@openssh.com)."""
    return extended(constants.FSTATVFS, string(handle), Expects.STATVFS)


def limits() -> Request:
    """Ask how much the server takes at once (limits@openssh.com)."""
    return extended(constants.LIMITS, b"", Expects.LIMITS)


def extended(name: bytes, data: bytes, expects: Expects = Expects.STATUS) -> Request:
    """Use an extension of the protocol (section 8).

    :param name: of the extension.
    :param data: what it asks for, in the extension's own form.
    :param expects: ``EXTENDED`` for a reply that is not read any further.
    """
    return Request(constants.SSH_FXP_EXTENDED, string(name) + data, expects)


def _offset_and_length(offset: int, length: int) -> bytes:
    if length < 1 or offset < 0 or offset + length > _MAX_OFFSET:
        raise ValueError(f"{length} bytes at {offset} are no part of a file")
    try:
        return _READ.pack(offset, length)
    except struct.error as error:
        raise ValueError(f"{length} bytes are too much for one request") from error
