"""Errors of copies over SFTP: each says which host and which file it is about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pssh.clients.base.files import remote
from pssh.clients.base.files.remote_path import parent_of
from pssh.clients.base.files.session import SFTPSession
from pssh.exceptions import (
    ConnectionLostError,
    PSSHError,
    SFTPConnectionLostError,
    SFTPError,
    SFTPFailureError,
    SFTPIOError,
    Timeout,
)
from pssh.sftp.names import decode_name, printable


@contextlib.contextmanager
def about_file(session: SFTPSession, path: bytes, local: str) -> Iterator[None]:
    """Have every error say which file it is about, in words and in its fields.

    :param session: the SFTP session.
    :param path: the remote path.
    :param local: the local one.
    """
    try:
        with named(session.host, session.port, local):
            yield
    except (SFTPError, ConnectionLostError, Timeout) as ex:
        if getattr(ex, "path", None) is not None:
            raise
        raise _with_path(session, ex, path) from ex


def _with_path(
    session: SFTPSession, error: SFTPError | ConnectionLostError | Timeout, path: bytes
) -> PSSHError:
    host, port, text = session.host, session.port, decode_name(path)
    if isinstance(error, Timeout):
        made = Timeout(
            "%s (copying %s)", error, printable(path), host=host, port=port, step=error.step
        )
        made.path = text
        return made
    kind = type(error) if isinstance(error, SFTPError) else SFTPConnectionLostError
    return kind(
        "The copy of %s was cut off: %s", printable(path), error, host=host, port=port, path=text
    )


@contextlib.contextmanager
def named(host: str, port: int, path: str) -> Iterator[None]:
    """Tell an error of a local file which host it was about.

    :param host: the host.
    :param port: its port.
    :param path: the local path.
    """
    try:
        yield
    except PSSHError:
        raise
    except OSError as ex:
        ex.host, ex.port = host, port  # type: ignore[attr-defined]
        if ex.filename is None:
            ex.filename = path
        raise


def changed(session: SFTPSession, path: bytes, message: str, *values: object) -> SFTPError:
    """Make the error for an original that is not what it was when its copy began.

    :param message: what happened, with ``%s`` for each value, the host and the port.
    """
    host, port = session.host, session.port
    return SFTPError(message, *values, host, port, host=host, port=port, path=decode_name(path))


def not_regular(session: SFTPSession, path: bytes, what: str) -> SFTPIOError:
    """Make the error for a remote path that leads to something else than a regular file.

    :param what: what it is, such as ``"is a directory"``.
    """
    return SFTPIOError(
        "%s on host %s:%s %s, and a regular file is needed",
        printable(path),
        session.host,
        session.port,
        what,
        host=session.host,
        port=session.port,
        path=decode_name(path),
    )


def explain_failure(session: SFTPSession, error: SFTPFailureError, path: bytes) -> SFTPFailureError:
    """Find out whether a file could not be written because there is no room.

    Servers only say that it failed.

    :param error: what the server said.
    :param path: the file, in a directory that is there.
    :returns: an error that says so where that is the reason; otherwise the same one.
    """
    try:
        room = remote.room(session, parent_of(path) or b".")
    except PSSHError:
        return error
    if room is None or (room.f_bavail and (room.f_favail or not room.f_files)):
        return error
    return SFTPFailureError(
        "%s: no room is left on its file system",
        error,
        host=error.host,
        port=error.port,
        path=error.path,
        code=error.code,
        code_name=error.code_name,
    )
