"""The small files of a local directory that is sent: several are read together. In threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from pssh.clients.base.files.local_directory import LocalEntry
from pssh.local_path import READ_FLAGS

#: A file up to this is read whole, and sent with what stands before and after it.
SMALL: Final = 64 * 1024
#: Small files that are read at a time: together no more than this, in bytes, and so many.
_TOGETHER_MAX: Final = 256 * 1024
_FILES_TOGETHER_MAX: Final = 64


def together(files: Sequence[LocalEntry]) -> Iterator[Sequence[LocalEntry]]:
    """Divide files up: as many small ones as are read at a time, and large ones alone."""
    batch: list[LocalEntry] = []
    size = 0
    for file in files:
        small = file.status.st_size <= SMALL
        if batch and (
            not small
            or size + file.status.st_size > _TOGETHER_MAX
            or len(batch) >= _FILES_TOGETHER_MAX
        ):
            yield batch
            batch, size = [], 0
        if small:
            batch.append(file)
            size += file.status.st_size
        else:
            yield [file]
    if batch:
        yield batch


def read_small(files: Sequence[LocalEntry]) -> list[tuple[os.stat_result, bytes] | None]:
    """Read files as they are at one moment.

    :returns: for each its status and its content; ``None`` for what is no small file, or is
        being written.
    :raises OSError: when one cannot be read.
    """
    return [_read_small(file.path) for file in files]


def _read_small(path: str) -> tuple[os.stat_result, bytes] | None:
    descriptor = os.open(path, READ_FLAGS)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or before.st_size > SMALL:
            return None
        content = os.read(descriptor, SMALL + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return (before, content) if same and len(content) == before.st_size else None
