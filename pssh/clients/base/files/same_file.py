"""A file that would be copied onto itself, or a directory into itself: the host is this machine.

A list of hosts may well contain the machine on which the program runs. What is copied there to the
path that it has is there already, and to begin the copy would empty it. A directory that is copied
to one below it would have no end.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat

from pssh.clients.base.files import remote
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.host import HostClient
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SFTPIOError
from pssh.local_path import is_within
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import printable
from pssh.utils import logger


def found_here(
    client: HostClient, path: bytes, *local: str, recurse: bool
) -> os.stat_result | None:
    """Look whether a remote path leads to a local file or directory, if the host is this machine.

    By the address, it may be; a tunnel or a changed root directory may lead elsewhere. So the host
    has to be asked before the answer counts.

    :param client: the client, which is connected.
    :param path: the remote path.
    :param local: the local paths; which of them is meant depends on what is there.
    :param recurse: whether it may be a directory.
    :returns: what is known of the file; ``None`` where there are two different ones.
    """
    connection = client.connection
    if connection is None or not _is_this_machine(connection.sock):
        return None
    here = in_thread(_same, os.fsdecode(path), client.user, local)
    return None if here is None or (stat.S_ISDIR(here.st_mode) and not recurse) else here


def found_around(
    client: HostClient, path: bytes, local: str, *, to_host: bool
) -> tuple[bytes, os.stat_result] | None:
    """Look whether a directory would be copied to one below it, if the host is this machine.

    The host has to be asked as well, as with :func:`found_here`.

    :param client: the client, which is connected.
    :param path: the remote path.
    :param local: the local path.
    :param to_host: the direction.
    :returns: the remote path of the original, and what is known of it here; ``None`` where the copy
        is elsewhere.
    """
    connection = client.connection
    if connection is None or not _is_this_machine(connection.sock):
        return None
    return in_thread(_around, os.fsdecode(path), client.user, local, to_host)


def is_told_by(session: SFTPSession, path: bytes, here: os.stat_result) -> bool:
    """Whether what an SFTP server knows of a path is what is known of a file here."""
    try:
        return _matches(remote.stat(session, path), here)
    except SFTPIOError:
        return False


def log_left(client: HostClient, path: str) -> None:
    """Log that a remote file stays as it is."""
    logger.warning(
        "%s on host %s:%s is the original itself: nothing is copied",
        *(printable(path), client.host, client.port),
    )


def _is_this_machine(sock: socket.socket) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        ours, theirs = sock.getsockname()[0], sock.getpeername()[0]
        addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in (ours, theirs)]
    except (OSError, ValueError):
        return False
    return ours == theirs or all(each.is_loopback for each in addresses)


def _same(path: str, user: str, local: tuple[str, ...]) -> os.stat_result | None:
    there = _from_home(path, user)
    for each in local:
        with contextlib.suppress(OSError):
            found = os.stat(each)
            if os.path.samestat(found, os.stat(there)):
                return found
    return None


def _around(path: str, user: str, local: str, to_host: bool) -> tuple[bytes, os.stat_result] | None:
    there, here = os.path.realpath(_from_home(path, user)), os.path.realpath(local)
    original, copy = (here, there) if to_host else (there, here)
    if original == copy or not is_within(original, copy):
        return None
    try:
        found = os.stat(original)
    except OSError:
        return None
    return (os.fsencode(original), found) if stat.S_ISDIR(found.st_mode) else None


def _from_home(path: str, user: str) -> str:
    # Where a session begins, as a rule.
    return os.path.join(os.path.expanduser(f"~{user}"), path)


def _matches(told: Attributes, here: os.stat_result) -> bool:
    if told.size is None or told.mtime is None or told.permissions is None:
        return False
    return (told.size, told.mtime, told.permissions) == (
        here.st_size,
        here.st_mtime_ns // 10**9 & 0xFFFFFFFF,
        here.st_mode,
    ) and (told.uid is None or (told.uid, told.gid) == (here.st_uid, here.st_gid))
