"""Stands for an object of a library that has been given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


class Gone:
    """Raises whatever is asked of it.

    In the place of the object itself: nobody then has to look first, at each call, whether it is
    still there.

    :param error: makes the error to raise. Not a method of who keeps this, which would keep both.
    """

    __slots__ = ("_error",)

    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise self._error()


def gone(error: Callable[[], Exception]) -> Any:
    """Make one that type checkers take for the object that it stands for.

    :param error: makes the error to raise.
    """
    return Gone(error)
