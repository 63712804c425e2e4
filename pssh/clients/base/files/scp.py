"""Files between here and a host, over SCP: for hosts that offer no SFTP.

The host needs the ``scp`` program and a POSIX shell. One channel carries a file, or all that is
in a directory. What SCP has no word for (a missing directory, going on where an earlier copy was
cut off, renaming) commands of their own do, on channels of their own.

What is read and written locally goes through threads, and memory does not grow with the size of a
file: sending takes up to 9 blocks of 1 MiB that all hosts share, and for each host a block;
receiving up to 9 MiB that wait for the disk, and what the window of the channel holds (2 MiB).
"""

from __future__ import annotations

import os
import stat

from pssh.clients.base.files import same_file
from pssh.clients.base.files.options import CopyOptions
from pssh.clients.base.files.remote_path import join
from pssh.clients.base.files.scp_copy import Copy, explained
from pssh.clients.base.files.scp_receive import Receiver
from pssh.clients.base.files.scp_shell import is_directory
from pssh.clients.base.files.scp_target import LocalTarget
from pssh.clients.base.files.scp_upload import send_directory, send_file
from pssh.clients.base.host import HostClient
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SCPError
from pssh.scp.command import fetch_command, last_name
from pssh.scp.sink import AHEAD, Sink


def send(
    client: HostClient, local_file: str, remote_file: str, recurse: bool, options: CopyOptions
) -> None:
    """Copy a local file, or what is in a directory, to the host.

    The copy has the mode of the original, all of its bits. An existing file is overwritten, as
    scp does. Directories that are missing are made. Symbolic links are followed; what is no file
    and no directory, and links that lead nowhere or to a directory above them, are left out with
    a warning in the log. The first failure ends the copy; what was copied before stays, but no
    part of a file, if the connection still stands.

    With ``resume`` the size tells how much of a file is there: that the beginning is the same is
    not checked. A file that has all its bytes is not sent again, and one with more is sent anew.

    With ``atomic`` each file is renamed when it is whole; what replaced one before an error of
    another file stays replaced.

    :param client: the client.
    :param local_file: the local path.
    :param remote_file: the remote path. A file goes to a directory of that name, if there is one,
        or if the path ends in ``/``, and keeps its name there.
    :param recurse: copy what is in a directory.
    :param options: how to copy.
    :raises ValueError: when it is a directory and ``recurse`` is off.
    :raises SCPError: when the host refuses something or has no scp, when the original changes
        meanwhile, or has a name with a line feed; ``path`` is the remote path.
    :raises SCPConnectionLostError: when the connection is lost meanwhile. It is an ``SCPError``,
        too.
    :raises OSError: when something cannot be read, with ``host``, ``port`` and ``path``, the
        local path.
    :raises Timeout: when the host does nothing for the client's ``timeout``.
    :raises InvalidAPIUseError: when no command can contain the remote path.
    """
    with explained(client, local_file, remote_file, to_host=True):
        last_name(remote_file)  # refuses what no command can contain
        copy = Copy(client, options)
        path = remote_file.encode(copy.encoding, "surrogateescape")
        is_directory = stat.S_ISDIR(in_thread(os.stat, local_file).st_mode)
        if is_directory and not recurse:
            raise _needs_recurse(local_file)
        name = os.fsencode(os.path.basename(local_file))
        paths = [path] if is_directory else [path, join(path, name)]
        if any(_is_itself(copy, each, local_file, recurse=recurse) for each in paths):
            return
        _check_apart(copy, path, local_file, to_host=True)
        (send_directory if is_directory else send_file)(copy, local_file, path)


def receive(
    client: HostClient,
    remote_file: str,
    local_file: str,
    recurse: bool,
    encoding: str,
    options: CopyOptions,
) -> None:
    """Copy a file, or what is in a directory, from the host.

    The copy has the permission bits of the original, without set-user-ID, set-group-ID and the
    sticky bit. Directories that are missing are made. Whatever the host sends, nothing is written
    but the file, or what is below the directory; local links in there are followed only to what
    is in there too.

    The first failure ends the copy. A part of a file is removed then, also where there was a file
    before: what is there is neither the old nor the new one. With ``resume`` it stays; with
    ``atomic`` the old file does.

    With ``resume`` the size tells how much of a file is there: that the beginning is the same is
    not checked. Each file in a directory then costs two round trips.

    :param client: the client.
    :param remote_file: the remote path.
    :param local_file: the local path. A file goes to a directory of that name, if there is one,
        or if the path ends in ``/``, and keeps its name there.
    :param recurse: copy what is in a directory.
    :param encoding: how remote names are encoded.
    :param options: how to copy.
    :raises ValueError: when it is a directory and ``recurse`` is off.
    :raises SCPError: when the host cannot send something or has no scp, when it sends what was
        not asked for, or when a name contains a line feed; ``path`` is the remote path.
    :raises SCPConnectionLostError: when the connection is lost meanwhile. It is an ``SCPError``,
        too.
    :raises OSError: when something cannot be written, with ``host``, ``port`` and ``path``, the
        local path.
    :raises Timeout: when the host sends nothing for the client's ``timeout``.
    :raises InvalidAPIUseError: when no command can contain the remote path.
    """
    with explained(client, local_file, remote_file, to_host=False):
        command = fetch_command(
            remote_file,
            recursive=recurse,
            preserve=options.preserve_times,
            encoding=encoding,
        )
        path = remote_file.encode(encoding, "surrogateescape")
        name = last_name(path)
        copy = Copy(client, options, encoding)
        inside = os.path.join(local_file, os.fsdecode(name or b""))
        if _is_itself(copy, path, local_file, inside, recurse=recurse):
            return
        _check_apart(copy, path, local_file, to_host=False)
        target = LocalTarget(
            local_file,
            None if name is None else os.fsdecode(name),
            atomic=options.atomic,
            keep=options.resume,
            preserve_times=options.preserve_times,
        )
        sink = Sink(
            recursive=recurse,
            unnamed=name is None,
            ahead=_replies_ahead(recurse, options),
        )
        receiver = Receiver(copy, copy.start(command), sink, target, path)
        try:
            receiver.run()
        except SCPError as ex:
            if not (receiver.begun or recurse) and copy.succeeds(is_directory(path)):
                raise _needs_recurse(remote_file) from ex
            raise


def _is_itself(copy: Copy, path: bytes, *local: str, recurse: bool) -> bool:
    """Whether a file or directory would be copied onto itself: then nothing is to be done."""
    here = same_file.found_here(copy.client, path, *local, recurse=recurse)
    if here is None or not copy.has_inode(path, here.st_ino):
        return False
    if stat.S_ISREG(here.st_mode):
        copy.meter(path, here.st_size).finish(here.st_size)
    same_file.log_left(copy.client, copy.text(path))
    return True


def _check_apart(copy: Copy, path: bytes, local: str, *, to_host: bool) -> None:
    """Check that no directory is copied to one below it, which would have no end."""
    found = same_file.found_around(copy.client, path, local, to_host=to_host)
    if found is not None and copy.has_inode(found[0], found[1].st_ino):
        raise SCPError("%s cannot be copied into itself", copy.shown(found[0]))


def _replies_ahead(recurse: bool, options: CopyOptions) -> int:
    if options.resume:
        # What is here already has to be refused before it is sent.
        return 0
    # One file takes no more than times, its record and its end.
    return AHEAD if recurse else 3


def _needs_recurse(path: str) -> ValueError:
    return ValueError(f"{path} is a directory: copying it takes recurse=True")
