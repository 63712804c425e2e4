"""Local files that no device has to be waited for, and what of the others is in memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

Block: TypeAlias = bytes | bytearray

#: Reads so many bytes from an offset on, of a descriptor. ``None``: that might have to wait.
#: Fewer bytes: the rest might, or the file ends.
ReadNow: TypeAlias = Callable[[int, int, int], Block | None]

#: Linux's preadv2(2) with this reads only what is in the page cache.
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)

#: What statfs(2) calls a file system that is nowhere but in memory. It knows no RWF_NOWAIT, as
#: there is nothing to wait for. (It may be swapped out, like everything else in memory.)
_TMPFS_MAGIC = 0x01021994
#: More than ``struct statfs`` has anywhere; it begins with the magic number.
_STATFS_SIZE = 512


def reader(descriptor: int) -> ReadNow:
    """Return what reads a file without waiting. In a thread: a network file system may hang.

    :param descriptor: the open file.
    """
    if is_in_memory(descriptor):
        return os.pread
    return _never if _NOWAIT is None else _read_cached


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def is_in_memory(descriptor: int) -> bool:
    """Whether a file is nowhere but in memory, where reading and writing never wait.

    In a thread: a network file system may hang.

    :param descriptor: the open file.
    """
    if sys.platform != "linux":
        return False
    status = ctypes.create_string_buffer(_STATFS_SIZE)
    if _c_library().fstatfs(descriptor, status):
        return False
    return ctypes.c_long.from_buffer(status).value == _TMPFS_MAGIC


def _read_cached(descriptor: int, size: int, offset: int) -> Block | None:
    assert _NOWAIT is not None
    data = bytearray(size)
    try:
        count = os.preadv(descriptor, [data], offset, _NOWAIT)
    except OSError:
        # Not in memory, or not to be asked that: whatever it is, the thread that reads says it.
        return None
    del data[count:]
    return data


def _never(_descriptor: int, _size: int, _offset: int) -> Block | None:
    return None
