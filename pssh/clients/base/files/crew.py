"""Greenlets that walk through a tree of directories and copy the files in it, many at a time.

Each file needs a few round trips, and none waits for another's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import gevent
from gevent.event import Event

from pssh.clients.base.files.session import SFTPSession

#: Files that are copied at a time.
_FILES_MAX = 64
#: Directories that are looked at at a time.
_FOLDERS_MAX = 16


class Crew:
    """Does things at the same time, up to a number. After an error it begins nothing more.

    :param size: how many at a time.
    """

    __slots__ = ("_error", "_size", "_stepped", "_working")

    def __init__(self, size: int) -> None:
        self._size = size
        self._working: set[gevent.Greenlet] = set()
        self._stepped = Event()
        self._error: Exception | None = None

    def start(self, function: Callable[..., object], *args: Any) -> None:
        """Have something done, as soon as there is room.

        :raises Exception: what something that was started before has failed with.
        """
        while len(self._working) >= self._size:
            self.wait()
        self.check()
        worker = gevent.Greenlet(self._work, function, *args)
        self._working.add(worker)
        worker.rawlink(self._done)
        worker.start()

    def _work(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception as ex:  # noqa: BLE001 (it is raised where the work was asked for)
            if self._error is None:
                self._error = ex

    def _done(self, worker: gevent.Greenlet) -> None:
        self._working.discard(worker)
        self._stepped.set()

    @property
    def idle(self) -> bool:
        """Whether everything that was started is done."""
        return not self._working

    def check(self) -> None:
        """Raise what something has failed with."""
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Wait until something is done."""
        self._stepped.clear()
        if self._working:
            self._stepped.wait()

    def finish(self) -> None:
        """Wait until everything is done.

        :raises Exception: what the first of them failed with.
        """
        gevent.joinall(list(self._working))
        self.check()

    def stop(self) -> None:
        """Leave everything as it is."""
        gevent.killall(list(self._working))


Folder = TypeVar("Folder")


def explore(crew: Crew, first: Folder, visit: Callable[[Folder], Iterable[Folder]]) -> None:
    """Visit a directory and all that are below it, several at the same time.

    :param crew: visits them.
    :param first: the directory to begin with.
    :param visit: is given a directory and returns those in it.
    """
    found = deque([first])
    while found or not crew.idle:
        crew.check()
        if found:
            crew.start(lambda folder: found.extend(visit(folder)), found.popleft())
        else:
            crew.wait()
    crew.check()


def copy_tree(session: SFTPSession, walk: Callable[[Crew, Crew], None]) -> None:
    """Run a walk that has one crew look at directories and another one copy files.

    :param session: the SFTP session that all is copied over.
    :param walk: the walk.
    """
    # Each file has its own handle on the server, and a listing has one as well.
    allowed = session.handles_max or _FILES_MAX + _FOLDERS_MAX
    folders = max(1, min(_FOLDERS_MAX, allowed // 4))
    scouts, copiers = Crew(folders), Crew(max(1, min(_FILES_MAX, allowed - folders)))
    try:
        try:
            walk(scouts, copiers)
        finally:
            # A file that has been begun is brought to its end, also after another one's error:
            # nothing is left that is neither whole nor removed.
            copiers.finish()
    except Exception:
        scouts.stop()
        raise
    except BaseException:
        scouts.stop()
        copiers.stop()
        raise
