"""One file from an SFTP server, whole or not at all."""

from __future__ import annotations

import os

from gevent.event import AsyncResult

from pssh.clients.base.files import remote
from pssh.clients.base.files.copy_errors import about_file, changed, not_regular
from pssh.clients.base.files.download import Download
from pssh.clients.base.files.open_handle import OpenHandle
from pssh.clients.base.files.options import Meter
from pssh.clients.base.files.remote_path import beside
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.sftp_copy import SFTPCopy, mode_of, times_of
from pssh.clients.base.files.target import Target
from pssh.clients.base.threads import in_thread
from pssh.local_path import describe
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import printable
from pssh.sftp.replies import FileAttributes, Status


class IsADirectory(Exception):
    """What was to be fetched as a file is a directory.

    :param attributes: its attributes.
    """

    def __init__(self, attributes: Attributes) -> None:
        super().__init__(attributes)
        self.attributes = attributes


def get_file(
    copy: SFTPCopy,
    path: bytes,
    local: str,
    *,
    follow: bool = True,
    known: Attributes | None = None,
) -> None:
    """Copy a file from the server.

    :param copy: how to copy.
    :param path: the remote path.
    :param local: the local one; directories that are missing there are made.
    :param follow: whether the local path may be a symbolic link to what is written.
    :param known: its attributes, where they are known.
    :raises IsADirectory: when it is one.
    :raises SFTPIOError: when the server cannot read it.
    :raises OSError: when it cannot be written.
    :raises SFTPError: when it changes meanwhile, or the session ends.
    """
    session = copy.session
    with about_file(session, path, local):
        # Since it was listed, which may be long ago, it may have changed.
        looked = None if known is None else session.ask(requests.stat(path))
        if known is None:
            known = remote.stat(session, path)
            if known.is_dir:
                raise IsADirectory(known)
        _check_regular(session, path, known)
        request = requests.open_file(path, constants.SSH_FXF_READ)
        handle = OpenHandle.open(session, request, "open", path)
        try:
            if looked is not None:
                known = _attributes(session, path, looked)
                _check_regular(session, path, known)
            _fetch(copy, handle.value, path, known, local, follow)
        finally:
            handle.close_unseen()


def _attributes(session: SFTPSession, path: bytes, looked: AsyncResult) -> Attributes:
    reply = session.wait_for(looked, "look at a file")
    if not isinstance(reply, FileAttributes):
        assert isinstance(reply, Status)
        raise session.refusal(reply, "look at", path)
    return reply.attributes


def _check_regular(session: SFTPSession, path: bytes, known: Attributes) -> None:
    if known.file_type is not None and not known.is_file:
        # A server waits for somebody to write to a pipe, and does nothing else meanwhile.
        raise not_regular(session, path, f"is {describe(known.permissions or 0)}")


def _fetch(
    copy: SFTPCopy, handle: bytes, path: bytes, known: Attributes, local: str, follow: bool
) -> None:
    options = copy.options
    written = os.fsdecode(beside(os.fsencode(local))) if options.atomic else local
    in_thread(_make_parents, written)
    mode = mode_of(known)
    target = Target(written, 0o666 if mode is None else mode, keep=options.resume, follow=follow)
    meter = copy.meter(path, known.size or 0)
    complete = False
    try:
        size = _receive(copy, handle, path, known, target, meter)
        target.finish(size, mode, times_of(known) if options.preserve_times else None)
        meter.finish(size)
        if options.atomic:
            in_thread(os.replace, written, local)
        complete = True
    finally:
        if complete or options.resume:
            target.close()
        else:
            target.remove()


def _receive(
    copy: SFTPCopy, handle: bytes, path: bytes, known: Attributes, target: Target, meter: Meter
) -> int:
    session, resume = copy.session, copy.options.resume
    # What has no size is made up when it is read, such as files below /proc.
    size = known.size or None
    start = target.size if resume and size is not None and target.size <= size else 0
    download = Download(session, handle, path, target, meter, copy.rate)
    looked: list[AsyncResult] = []
    try:
        received = download.run(
            start, size, lambda: looked.append(session.ask(requests.fstat(handle)))
        )
    except BaseException:
        if resume:
            target.keep_only(download.whole_until)
        raise
    now = _attributes(session, path, looked[0])
    if size is not None and (now.size, now.mtime) != (known.size, known.mtime):
        raise changed(
            session, path, "File %s changed while it was copied from host %s:%s", printable(path)
        )
    return received


def _make_parents(path: str) -> None:
    parent = os.path.dirname(path)
    if parent:
        os.makedirs(parent, exist_ok=True)
