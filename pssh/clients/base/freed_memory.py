"""What becomes of memory that was used for bytes on their way."""

from __future__ import annotations

from functools import cache


@cache
def keep(size: int) -> None:
    """Have freed memory of about that size kept, for the bytes that come next.

    The C library gives what is free at the end of its memory back to the system, as soon as that
    is 128 KiB, and the system has to find and to clear every page anew. How much it keeps it learns
    from the size of what is freed (mallopt(3), ``M_MMAP_THRESHOLD``): twice that. Fetching a file
    over a fast line, with a megabyte for the disk at a time, took a tenth longer without, and
    reading lines of 1,000 bytes a third.

    :param size: in bytes.
    """
    # None of it is written to, so that there are no pages to be found.
    bytes(size)
