"""What belongs to the parent of a forked process, and is not to be touched in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """Is told in a child that it belongs to the parent."""

    def leave_to_parent(self) -> None:
        """Never touch what the parent uses."""


_open: weakref.WeakSet[Inherited] = weakref.WeakSet()
_hook_installed = False


def remember(inherited: Inherited) -> None:
    """Note something for the case that the process forks.

    :param inherited: what is told; this does not keep it.
    """
    global _hook_installed
    _open.add(inherited)
    if not _hook_installed:
        # Only now: importing the library changes nothing in the process.
        _hook_installed = True
        os.register_at_fork(after_in_child=_after_fork)


def forget(inherited: Inherited) -> None:
    """What has been closed has nothing left that belongs to anybody."""
    _open.discard(inherited)


def _after_fork() -> None:
    for inherited in list(_open):
        inherited.leave_to_parent()
    _open.clear()
