"""The descriptor of a local file that threads work on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from gevent.monkey import get_original

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# The real one, also when the program has made the standard library cooperative.
_allocate_lock = get_original("_thread", "allocate_lock")


class Descriptor:
    """An open file, closed when the last thread that works on it has come back.

    Whoever waits for a thread may be given up meanwhile, and closes the file. Its number could
    then be another file's already, and the thread would write to that one.

    :param number: the descriptor, of which this is the owner from now on.
    """

    __slots__ = ("_closing", "_lock", "_number", "_users")

    def __init__(self, number: int) -> None:
        self._number = number
        self._users = 0
        self._closing = False
        self._lock = _allocate_lock()

    def call(
        self,
        function: Callable[Concatenate[int, _Parameters], _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """Call a function of a descriptor, in any thread.

        :param function: such as :func:`os.pread`.
        :param args: its arguments after the descriptor.
        :param kwargs: its keyword arguments.
        :raises OSError: when the function does, or the file has been closed (``EBADF``).
        """
        with self._lock:
            if self._closing:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._users += 1
        try:
            return function(self._number, *args, **kwargs)
        finally:
            with self._lock:
                self._users -= 1
                last = self._closing and not self._users
            if last:
                os.close(self._number)

    def close(self) -> None:
        """Close the file, once nobody works on it any more. Closing it again does nothing.

        :raises OSError: when the system tells only now that something could not be written.
        """
        with self._lock:
            if self._closing:
                return
            self._closing = True
            used = self._users > 0
        if not used:
            os.close(self._number)

    def __del__(self) -> None:
        if not getattr(self, "_closing", True):
            os.close(self._number)
