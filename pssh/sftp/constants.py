"""The numbers and names of the SFTP protocol, as the standards spell them. Pure.

Packet types, status codes and flags: draft-ietf-secsh-filexfer-02. Extensions: OpenSSH's PROTOCOL
file, section 4.
"""

from __future__ import annotations

from typing import Final

#: The version that is spoken here, which is what OpenSSH speaks.
PROTOCOL_VERSION: Final = 3

# Packet types (section 3)

SSH_FXP_INIT: Final = 1
SSH_FXP_VERSION: Final = 2
SSH_FXP_OPEN: Final = 3
SSH_FXP_CLOSE: Final = 4
SSH_FXP_READ: Final = 5
SSH_FXP_WRITE: Final = 6
SSH_FXP_LSTAT: Final = 7
SSH_FXP_FSTAT: Final = 8
SSH_FXP_SETSTAT: Final = 9
SSH_FXP_FSETSTAT: Final = 10
SSH_FXP_OPENDIR: Final = 11
SSH_FXP_READDIR: Final = 12
SSH_FXP_REMOVE: Final = 13
SSH_FXP_MKDIR: Final = 14
SSH_FXP_RMDIR: Final = 15
SSH_FXP_REALPATH: Final = 16
SSH_FXP_STAT: Final = 17
SSH_FXP_RENAME: Final = 18
SSH_FXP_READLINK: Final = 19
SSH_FXP_SYMLINK: Final = 20
SSH_FXP_STATUS: Final = 101
SSH_FXP_HANDLE: Final = 102
SSH_FXP_DATA: Final = 103
SSH_FXP_NAME: Final = 104
SSH_FXP_ATTRS: Final = 105
SSH_FXP_EXTENDED: Final = 200
SSH_FXP_EXTENDED_REPLY: Final = 201

#: What a server may send, with the names.
REPLY_NAMES: Final = {
    SSH_FXP_VERSION: "SSH_FXP_VERSION",
    SSH_FXP_STATUS: "SSH_FXP_STATUS",
    SSH_FXP_HANDLE: "SSH_FXP_HANDLE",
    SSH_FXP_DATA: "SSH_FXP_DATA",
    SSH_FXP_NAME: "SSH_FXP_NAME",
    SSH_FXP_ATTRS: "SSH_FXP_ATTRS",
    SSH_FXP_EXTENDED_REPLY: "SSH_FXP_EXTENDED_REPLY",
}

# How a file is opened (section 6.3)

SSH_FXF_READ: Final = 0x01
SSH_FXF_WRITE: Final = 0x02
SSH_FXF_APPEND: Final = 0x04
SSH_FXF_CREAT: Final = 0x08
SSH_FXF_TRUNC: Final = 0x10
SSH_FXF_EXCL: Final = 0x20

# Which attributes are present (section 5)

SSH_FILEXFER_ATTR_SIZE: Final = 0x01
SSH_FILEXFER_ATTR_UIDGID: Final = 0x02
SSH_FILEXFER_ATTR_PERMISSIONS: Final = 0x04
SSH_FILEXFER_ATTR_ACMODTIME: Final = 0x08
SSH_FILEXFER_ATTR_EXTENDED: Final = 0x80000000

# How a request ended (section 7)

SSH_FX_OK: Final = 0
SSH_FX_EOF: Final = 1
SSH_FX_NO_SUCH_FILE: Final = 2
SSH_FX_PERMISSION_DENIED: Final = 3
SSH_FX_FAILURE: Final = 4
SSH_FX_BAD_MESSAGE: Final = 5
SSH_FX_NO_CONNECTION: Final = 6
SSH_FX_CONNECTION_LOST: Final = 7
SSH_FX_OP_UNSUPPORTED: Final = 8
# Later drafts' codes for the first kinds of error, which some servers send in version 3 as well.
SSH_FX_NO_SUCH_PATH: Final = 10
SSH_FX_WRITE_PROTECT: Final = 12

#: The names of the status codes. Version 3 has those up to 8; the rest is from
#: draft-ietf-secsh-filexfer-13 section 9.1, for servers that do not keep the versions apart.
STATUS_NAMES: Final = {
    SSH_FX_OK: "SSH_FX_OK",
    SSH_FX_EOF: "SSH_FX_EOF",
    SSH_FX_NO_SUCH_FILE: "SSH_FX_NO_SUCH_FILE",
    SSH_FX_PERMISSION_DENIED: "SSH_FX_PERMISSION_DENIED",
    SSH_FX_FAILURE: "SSH_FX_FAILURE",
    SSH_FX_BAD_MESSAGE: "SSH_FX_BAD_MESSAGE",
    SSH_FX_NO_CONNECTION: "SSH_FX_NO_CONNECTION",
    SSH_FX_CONNECTION_LOST: "SSH_FX_CONNECTION_LOST",
    SSH_FX_OP_UNSUPPORTED: "SSH_FX_OP_UNSUPPORTED",
    9: "SSH_FX_INVALID_HANDLE",
    SSH_FX_NO_SUCH_PATH: "SSH_FX_NO_SUCH_PATH",
    11: "SSH_FX_FILE_ALREADY_EXISTS",
    SSH_FX_WRITE_PROTECT: "SSH_FX_WRITE_PROTECT",
    13: "SSH_FX_NO_MEDIA",
    14: "SSH_FX_NO_SPACE_ON_FILESYSTEM",
    15: "SSH_FX_QUOTA_EXCEEDED",
    16: "SSH_FX_UNKNOWN_PRINCIPAL",
    17: "SSH_FX_LOCK_CONFLICT",
    18: "SSH_FX_DIR_NOT_EMPTY",
    19: "SSH_FX_NOT_A_DIRECTORY",
    20: "SSH_FX_INVALID_FILENAME",
    21: "SSH_FX_LINK_LOOP",
    22: "SSH_FX_CANNOT_DELETE",
    23: "SSH_FX_INVALID_PARAMETER",
    24: "SSH_FX_FILE_IS_A_DIRECTORY",
    25: "SSH_FX_BYTE_RANGE_LOCK_CONFLICT",
    26: "SSH_FX_BYTE_RANGE_LOCK_REFUSED",
    27: "SSH_FX_DELETE_PENDING",
    28: "SSH_FX_FILE_CORRUPT",
    29: "SSH_FX_OWNER_INVALID",
    30: "SSH_FX_GROUP_INVALID",
    31: "SSH_FX_NO_MATCHING_BYTE_RANGE_LOCK",
}

# Extensions

POSIX_RENAME: Final = b"posix-rename@openssh.com"
STATVFS: Final = b"statvfs@openssh.com"
FSTATVFS: Final = b"fstatvfs@openssh.com"
HARDLINK: Final = b"hardlink@openssh.com"
FSYNC: Final = b"fsync@openssh.com"
LSETSTAT: Final = b"lsetstat@openssh.com"
LIMITS: Final = b"limits@openssh.com"

#: Extension -> the revision of it that is spoken here.
EXTENSION_REVISIONS: Final = {
    POSIX_RENAME: b"1",
    STATVFS: b"2",
    FSTATVFS: b"2",
    HARDLINK: b"1",
    FSYNC: b"1",
    LSETSTAT: b"1",
    LIMITS: b"1",
}

# Lengths, in bytes

#: What a handle has at most (section 6.3).
MAX_HANDLE: Final = 256

#: What a packet has at most, without its length field: 256 KiB of data, and room for the rest.
MAX_PACKET: Final = 256 * 1024 + 1024

#: What every server takes (section 3): packets, and data in one read or write.
DEFAULT_MAX_PACKET: Final = 34000
DEFAULT_MAX_DATA: Final = 32768
