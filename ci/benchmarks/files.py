"""The files that are copied, and whether they have arrived."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gauge import Settings
from benchmarks.peer import RunError

if TYPE_CHECKING:
    from tests.servers.account import Account

#: A file system in memory: what is measured is not the disk.
MEMORY = Path("/dev/shm")
BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Files:
    """What a measure copies.

    :ivar size: bytes of each file.
    :ivar count: how many; several are in a directory.
    :ivar fetched: whether they are on the server at first.
    :ivar in_memory: whether they are on a file system in memory.
    :ivar hosts: to how many hosts. The copy of the first is kept; the others' go to
        ``/dev/null``, and are compared by the number of bytes that their server has written.
    """

    size: int
    count: int = 1
    fetched: bool = False
    in_memory: bool = True
    hosts: int = 1

    @property
    def megabytes(self) -> float:
        """What each host is sent, or sends, in millions of bytes."""
        return self.size * self.count / 1e6


class Copies:
    """A folder with the files, and room for a copy; a context manager.

    :ivar files: what is copied.
    :param account: the server's, which can read the files and write beside them.
    """

    def __init__(self, files: Files, account: Account) -> None:
        self.files = files
        parent = MEMORY if files.in_memory else None
        self._temporary = tempfile.TemporaryDirectory(prefix="pssh-bench-", dir=parent)
        folder = Path(self._temporary.name)
        self._source = folder / "source"
        self._room = folder / "room"
        self._target = self._room / "target"
        try:
            folder.chmod(0o755)
            self._room.mkdir()
            account.give(self._room, 0o755)
            self._write_source()
        except BaseException:
            self._temporary.cleanup()
            raise

    def __enter__(self) -> Copies:
        return self

    def __exit__(self, *exception: object) -> None:
        self._temporary.cleanup()

    @property
    def settings(self) -> Settings:
        """What a worker has to know of them."""
        ends = (str(self._source), str(self._target))
        remote, local = ends if self.files.fetched else ends[::-1]
        return {
            "local": local,
            "remote": remote,
            "size": self.files.size,
            "recurse": self.files.count > 1,
            "hosts": self.files.hosts,
        }

    def check(self) -> None:
        """Compare the copy with the original.

        :raises RunError: when they differ.
        """
        if self.files.count == 1:
            _compare(self._source, self._target)
            return
        names = sorted(os.listdir(self._source))
        if not self._target.is_dir() or sorted(os.listdir(self._target)) != names:
            raise RunError("The copy of the directory has other names in it.")
        for name in names:
            _compare(self._source / name, self._target / name)

    def clear(self) -> None:
        """Remove the copy."""
        for path in self._room.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _write_source(self) -> None:
        if self.files.count == 1:
            _write(self._source, self.files.size)
            return
        self._source.mkdir()
        for number in range(self.files.count):
            _write(self._source / f"file-{number:05}", self.files.size)
        self._source.chmod(0o755)


def _write(path: Path, size: int) -> None:
    """Write what cannot be compressed, and what no other file or place in it has."""
    with path.open("wb") as file:
        while size:
            size -= file.write(os.urandom(min(size, BLOCK)))
    path.chmod(0o644)


def _compare(source: Path, target: Path) -> None:
    # `filecmp` would remember the comparison of a file of the same name, size and time.
    if not target.is_file() or target.stat().st_size != source.stat().st_size:
        raise RunError(f"The copy {target} is missing or has another size.")
    with source.open("rb") as ours, target.open("rb") as theirs:
        while block := ours.read(BLOCK):
            if theirs.read(BLOCK) != block:
                raise RunError(f"The copy {target} is not what was copied.")
