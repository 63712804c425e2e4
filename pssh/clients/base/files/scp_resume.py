"""Going on where an earlier copy was cut off: SCP has no word for it, so the remote shell helps."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from pssh.clients.base.files import scp_shell as shell
from pssh.clients.base.files.remote_path import join, parent_of
from pssh.clients.base.files.scp_copy import Copy, content
from pssh.clients.base.files.source import Source
from pssh.exceptions import SCPError
from pssh.scp.record import Times


def resume(copy: Copy, source: Source, path: bytes, name: bytes) -> None:
    """Send what is missing of a file.

    :param copy: what the copy is asked for.
    :param source: the file.
    :param path: the remote path: the file's, or that of the directory that it goes to.
    :param name: its name in such a directory.
    """
    in_directory = path.endswith(b"/")
    path = join(path, name) if in_directory else path
    there = look(copy, [(path, source.status)])[0]
    if there == b"directory" and not in_directory:
        path = join(path, name)
        there = look(copy, [(path, source.status)])[0]
    if not is_complete(copy, path, source.status, there):
        append(copy, source, path, there)


def _wanted(copy: Copy, path: bytes, status: os.stat_result) -> shell.Wanted:
    times = Times(status.st_mtime_ns, status.st_atime_ns)
    mode = stat.S_IMODE(status.st_mode)
    return shell.Wanted(path, status.st_size, mode, times if copy.options.preserve_times else None)


def look(copy: Copy, files: Sequence[tuple[bytes, os.stat_result]]) -> list[bytes]:
    """Ask how much there is of each file.

    Those that are there whole are given their modes and times.

    :param copy: what the copy is asked for.
    :param files: the remote path of each, and what it is to become.
    :returns: see :func:`pssh.clients.base.files.scp_shell.look`.
    """
    found: list[bytes] = []
    for batch in shell.look_batches([_wanted(copy, *file) for file in files]):
        words = copy.ask(shell.look(batch)).split()
        if len(words) != len(batch):
            raise SCPError("the remote shell did not say how much there is of each file")
        found += words
    return found


def is_complete(copy: Copy, path: bytes, status: os.stat_result, there: bytes) -> bool:
    """Whether a file is there whole.

    :param copy: what the copy is asked for.
    :param path: the remote path.
    :param status: what it is to become.
    :param there: what :func:`look` says of it.
    :raises SCPError: when something else is there.
    """
    if there in (b"directory", b"other"):
        what = "a directory" if there == b"directory" else "no regular file"
        raise SCPError("%s is %s there", copy.shown(path), what)
    if there != b"%d" % status.st_size:
        return False
    copy.meter(path, status.st_size).finish(status.st_size)
    return True


def append(copy: Copy, source: Source, path: bytes, there: bytes) -> None:
    """Send what is missing of a file; all where what is there is not its begin.

    :param copy: what the copy is asked for.
    :param source: the file.
    :param path: the remote path.
    :param there: what :func:`look` says of it.
    :raises SCPError: when the host refuses it, or it changes meanwhile.
    :raises OSError: when it cannot be read.
    """
    start = int(there) if there.isdigit() and int(there) <= source.size else 0
    meter = copy.meter(path, source.size)
    command = shell.append(_wanted(copy, path, source.status), start)
    parent = parent_of(path)
    if there == b"missing" and parent:
        command = shell.in_new_directory(parent, command)
    program = copy.start(command)

    def write(data: memoryview) -> None:
        while data:
            count = program.write(data)
            data = data[count:]
            if not count:
                # It has nothing to say while it takes what it is sent.
                program.end()
                raise SCPError("%s", program.reason())

    try:
        content(source, start, copy.rate, meter, write)
        program.end()
    except BaseException as ex:
        program.close(ex)
        raise
    if not program.succeeded:
        raise SCPError("%s", program.reason())
    meter.finish(source.size)
