"""What a user can do over SCP on one host."""

from __future__ import annotations

import os

from pssh.clients.base.files.access import FileAccess, PathLike
from pssh.clients.base.files.copy_errors import named
from pssh.clients.base.files.options import CopyOptions, Progress
from pssh.clients.base.files.scp import receive, send
from pssh.sftp.names import path_text


class SCPAccess(FileAccess):
    """The part of a client that copies files without SFTP."""

    def scp_send(
        self,
        local_file: PathLike,
        remote_file: PathLike,
        recurse: bool = False,
        sftp: object = None,
        *,
        preserve_times: bool = False,
        atomic: bool = False,
        resume: bool = False,
        progress: Progress | None = None,
        limit_rate: float | None = None,
    ) -> None:
        """Copy a local file, or what is in a directory, to the host over SCP.

        For servers without SFTP; the host needs the ``scp`` program. A file or directory
        costs a round trip, so that for many small ones :meth:`copy_file` is faster.

        :param local_file: the local path.
        :param remote_file: the remote path.
        :param recurse: copy a directory, with all that is below it.
        :param sftp: of 2.x; directories are made without SFTP.
        :param preserve_times: give the copy the original's times.
        :param atomic: write beside the target, and rename over it when all is there.
        :param resume: go on after what an earlier copy has left, and leave what there is when
            this one fails.
        :param progress: called with host, remote path, bytes done and bytes in all.
        :param limit_rate: bytes per second.
        :raises ValueError: when it is a directory and ``recurse`` is off.
        :raises SCPError: when the host cannot write, or the original changes meanwhile.
        :raises OSError: when a local file cannot be read; ``host`` and ``filename`` are set.
        :raises PSSHError: when the connection is lost, or cannot be made.
        """
        options = CopyOptions(preserve_times, atomic, resume, progress, limit_rate)
        local = os.fsdecode(local_file)
        there = path_text(remote_file)
        with named(self.host, self.port, local):
            send(self, local, there, recurse, options)
        self._log_copy("to", local, there)

    def scp_recv(
        self,
        remote_file: PathLike,
        local_file: PathLike,
        recurse: bool = False,
        sftp: object = None,
        encoding: str = "utf-8",
        *,
        preserve_times: bool = False,
        atomic: bool = False,
        resume: bool = False,
        progress: Progress | None = None,
        limit_rate: float | None = None,
    ) -> None:
        """Copy a file, or what is in a directory, from the host over SCP.

        For servers without SFTP; the host needs the ``scp`` program.

        :param remote_file: the remote path.
        :param local_file: the local path.
        :param recurse: copy a directory, with all that is below it.
        :param sftp: of 2.x; SFTP is not needed.
        :param encoding: how ``remote_file`` is encoded on the host.
        :param preserve_times: give the copy the original's times.
        :param atomic: write beside the target, and rename over it when all is there.
        :param resume: go on after what an earlier copy has left, and leave what there is when
            this one fails.
        :param progress: called with host, remote path, bytes done and bytes in all.
        :param limit_rate: bytes per second.
        :raises ValueError: when it is a directory and ``recurse`` is off.
        :raises SCPError: when the host cannot read, or names what was not asked for.
        :raises OSError: when a local file cannot be written; ``host`` and ``filename`` are set.
        :raises PSSHError: when the connection is lost, or cannot be made.
        """
        options = CopyOptions(preserve_times, atomic, resume, progress, limit_rate)
        local = os.fsdecode(local_file)
        there = path_text(remote_file, encoding)
        with named(self.host, self.port, local):
            receive(self, there, local, recurse, encoding, options)
        self._log_copy("from", local, there)
