"""What a program may want to change of a file's attributes."""

from __future__ import annotations

import time

from pssh.sftp.attributes import Attributes

#: Times for :func:`os.utime`: of the last read and of the last change, in seconds since 1970.
Times = tuple[float, float]


def permissions(mode: int) -> Attributes:
    """Return the attributes that change permissions.

    :param mode: such as ``0o644``; a file type in it is left out.
    """
    return Attributes(permissions=mode & 0o7777)


def moments(times: Times | None) -> Attributes:
    """Return the attributes that change times; ``None`` for now."""
    read, changed = (time.time(),) * 2 if times is None else times
    return Attributes(atime=int(read), mtime=int(changed))
