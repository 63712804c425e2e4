"""From the status with which a request ended to an error (draft section 7). Pure."""

from __future__ import annotations

from typing import Final

from pssh.exceptions import (
    SFTPFailureError,
    SFTPIOError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
    SFTPUnsupportedError,
)
from pssh.sftp import constants
from pssh.sftp.names import decode_name, printable
from pssh.sftp.replies import Status

#: How much of a server's words goes into an error, in characters.
_MAX_MESSAGE: Final = 200

_ERRORS: Final[dict[int, type[SFTPIOError]]] = {
    constants.SSH_FX_NO_SUCH_FILE: SFTPNoSuchFileError,
    constants.SSH_FX_NO_SUCH_PATH: SFTPNoSuchFileError,
    constants.SSH_FX_PERMISSION_DENIED: SFTPPermissionDeniedError,
    constants.SSH_FX_WRITE_PROTECT: SFTPPermissionDeniedError,
    constants.SSH_FX_FAILURE: SFTPFailureError,
    constants.SSH_FX_OP_UNSUPPORTED: SFTPUnsupportedError,
}

_REASONS: Final = {
    constants.SSH_FX_EOF: "end of file",
    constants.SSH_FX_NO_SUCH_FILE: "no such file or directory",
    constants.SSH_FX_PERMISSION_DENIED: "permission denied",
    constants.SSH_FX_FAILURE: "the server could not do it",
    constants.SSH_FX_BAD_MESSAGE: "the server did not understand the request",
    constants.SSH_FX_NO_CONNECTION: "the server has no connection",
    constants.SSH_FX_CONNECTION_LOST: "the server lost its connection",
    constants.SSH_FX_OP_UNSUPPORTED: "the server does not support it",
}


def code_name(code: int) -> str:
    """Return the name of a status code.

    :param code: as the server sent it.
    :returns: such as ``SSH_FX_FAILURE``; the number in words where no standard has a name.
    """
    return constants.STATUS_NAMES.get(code, f"status {code}")


def error_for(
    status: Status,
    action: str,
    path: str | bytes | None,
    *,
    target: str | bytes | None = None,
    host: str | None = None,
    port: int | None = None,
) -> SFTPIOError:
    """Return the error that says why a request failed. It is for the caller to raise.

    Not for the SSH_FX_EOF that ends reading and listing, which is no error.

    :param status: how the request ended.
    :param action: what was to be done, going on from "Could not ", such as ``"open"``.
    :param path: the remote path, where there is one.
    :param target: the second path of a request that has two.
    :param host: the server's name or address.
    :param port: its port.
    """
    name = code_name(status.code)
    message = printable(status.message.strip())
    if len(message) > _MAX_MESSAGE:
        message = message[:_MAX_MESSAGE] + "…"
    what = [action, *(printable(each) or "''" for each in (path,) if each is not None)]
    if target is not None:
        what += ["to", printable(target) or "''"]
    return _ERRORS.get(status.code, SFTPIOError)(
        "Could not %s%s: %s (%s)",
        " ".join(what),
        "" if host is None else f" on host {host}:{port}",
        _REASONS.get(status.code, "the server refused"),
        f"{name}: {message}" if message else name,
        host=host,
        port=port,
        path=decode_name(path) if isinstance(path, bytes) else path,
        code=status.code,
        code_name=name,
    )
