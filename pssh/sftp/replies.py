"""What a server answers, and how it is read (draft-ietf-secsh-filexfer-02 section 7). Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from pssh.sftp import constants
from pssh.sftp.attributes import Attributes
from pssh.sftp.attributes import decode as decode_attributes
from pssh.sftp.fields import FieldError, read_string, read_uint32
from pssh.sftp.limits import Limits

#: What an entry of SSH_FXP_NAME takes at least: two lengths and the flags of the attributes.
_MIN_NAME = 12


class Version(NamedTuple):
    """SSH_FXP_VERSION: the server's version, and its extensions with their data."""

    version: int
    extensions: dict[bytes, bytes]


class Status(NamedTuple):
    """SSH_FXP_STATUS: how a request ended.

    :ivar code: one of ``SSH_FX_…``, or a number that no standard knows.
    :ivar message: the server's words, which may be empty.
    """

    request_id: int
    code: int
    message: str = ""
    language: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the request did what was asked for."""
        return self.code == constants.SSH_FX_OK

    @property
    def is_eof(self) -> bool:
        """Whether there is no more: no error as the answer to a read or readdir."""
        return self.code == constants.SSH_FX_EOF


class Handle(NamedTuple):
    """SSH_FXP_HANDLE: what names an open file or directory from now on."""

    request_id: int
    handle: bytes


class DataPart(NamedTuple):
    """A part of SSH_FXP_DATA. All parts of a reply come one after another.

    :ivar position: of this part in the reply, in bytes.
    :ivar data: a view of the bytes that were fed; it keeps all of them alive, so do not collect
        small ones.
    :ivar remaining: how many bytes of the reply are still to come; 0 in the last part.
    """

    request_id: int
    position: int
    data: memoryview
    remaining: int


class Name(NamedTuple):
    """An entry of SSH_FXP_NAME.

    :ivar filename: in a listing, the name in its directory; not checked in any way, see
        :func:`pssh.sftp.names.is_entry_name`.
    :ivar longname: a line as of ``ls -l``, in whatever form the server likes.
    """

    filename: bytes
    longname: bytes
    attributes: Attributes


class Names(NamedTuple):
    """SSH_FXP_NAME: one name for realpath and readlink, any number for readdir."""

    request_id: int
    entries: list[Name]


class FileAttributes(NamedTuple):
    """SSH_FXP_ATTRS: the answer to lstat, stat and fstat."""

    request_id: int
    attributes: Attributes


class ExtendedReply(NamedTuple):
    """SSH_FXP_EXTENDED_REPLY: the answer to an extension, not read yet."""

    request_id: int
    data: bytes


class StatVFS(NamedTuple):
    """The answer to statvfs@openssh.com: a file system, with the names of statvfs(3).

    :ivar f_flag: 1: it is read only; 2: it ignores set-user-ID bits.
    """

    f_bsize: int
    f_frsize: int
    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_files: int
    f_ffree: int
    f_favail: int
    f_fsid: int
    f_flag: int
    f_namemax: int


#: What a parser reads.
Packet: TypeAlias = Version | Status | Handle | DataPart | Names | FileAttributes | ExtendedReply
#: What a request is answered with.
Reply: TypeAlias = Packet | StatVFS | Limits

_STATVFS = struct.Struct(">11Q")
_LIMITS = struct.Struct(">4Q")


def decode(kind: int, data: bytes) -> Packet:
    """Read a packet. Bytes that follow its last field are ignored, as OpenSSH does.

    :param kind: its type; any that a server may send except SSH_FXP_DATA.
    :param data: what follows the type.
    :raises FieldError: when a field is missing or goes beyond the packet.
    """
    if kind == constants.SSH_FXP_VERSION:
        return _version(data)
    request_id, _ = read_uint32(data, 0)
    return _DECODERS[kind](request_id, data)


def decode_statvfs(reply: ExtendedReply) -> StatVFS:
    """Read the answer to statvfs@openssh.com and fstatvfs@openssh.com.

    :raises FieldError: when a field is missing.
    """
    if len(reply.data) < _STATVFS.size:
        raise FieldError("ends too early")
    return StatVFS(*_STATVFS.unpack_from(reply.data))


def decode_limits(reply: ExtendedReply, max_packet: int) -> Limits:
    """Read the answer to limits@openssh.com.

    :param max_packet: our own limit for a packet, in bytes.
    :raises FieldError: when a field is missing.
    """
    if len(reply.data) < _LIMITS.size:
        raise FieldError("ends too early")
    return Limits.from_server(*_LIMITS.unpack_from(reply.data), max_packet=max_packet)


def _version(data: bytes) -> Version:
    version, at = read_uint32(data, 0)
    extensions = {}
    while at < len(data):
        name, at = read_string(data, at)
        extensions[name], at = read_string(data, at)
    return Version(version, extensions)


def _status(request_id: int, data: bytes) -> Status:
    code, at = read_uint32(data, 4)
    # Servers that were written for earlier drafts leave out the message or its language.
    if at == len(data):
        return Status(request_id, code)
    message, at = read_string(data, at)
    language = read_string(data, at)[0] if at < len(data) else b""
    return Status(
        request_id, code, message.decode("utf-8", "replace"), language.decode("utf-8", "replace")
    )


def _handle(request_id: int, data: bytes) -> Handle:
    handle, _ = read_string(data, 4)
    if len(handle) > constants.MAX_HANDLE:
        raise FieldError(
            f"holds a handle of {len(handle)} bytes, where {constants.MAX_HANDLE} is the most"
        )
    return Handle(request_id, handle)


def _names(request_id: int, data: bytes) -> Names:
    count, at = read_uint32(data, 4)
    if count * _MIN_NAME > len(data) - at:
        raise FieldError(f"is too short for the {count} names that it announces")
    entries = []
    for _ in range(count):
        filename, at = read_string(data, at)
        longname, at = read_string(data, at)
        attributes, at = decode_attributes(data, at)
        entries.append(Name(filename, longname, attributes))
    return Names(request_id, entries)


def _attributes(request_id: int, data: bytes) -> FileAttributes:
    return FileAttributes(request_id, decode_attributes(data, 4)[0])


def _extended(request_id: int, data: bytes) -> ExtendedReply:
    return ExtendedReply(request_id, data[4:])


_DECODERS: dict[int, Callable[[int, bytes], Packet]] = {
    constants.SSH_FXP_STATUS: _status,
    constants.SSH_FXP_HANDLE: _handle,
    constants.SSH_FXP_NAME: _names,
    constants.SSH_FXP_ATTRS: _attributes,
    constants.SSH_FXP_EXTENDED_REPLY: _extended,
}
