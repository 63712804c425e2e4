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
from pssh.clients.base.interrupts import pass_on
from pssh.exceptions import StoppedError

#: Files that are copied at a time, and how many bytes they may have together: a few large files
#: fill the line as well as many, and each takes memory.
_FILES_MAX = 64
_BYTES_MAX = 8 * 1024 * 1024
#: What a file counts for at most, in bytes.
_FILE_MAX = 2 * 1024 * 1024
#: Directories that are looked at at a time.
_FOLDERS_MAX = 16


class Crew:
    """Does things at the same time, up to a number. After an error it begins nothing more.

    :param size: how many at a time.
    """

    __slots__ = ("_error", "_held", "_size", "_stepped", "_stopped", "_working")

    def __init__(self, size: int) -> None:
        self._size = size
        #: Who works, and the bytes that each counts for.
        self._working: dict[gevent.Greenlet, int] = {}
        self._held = 0
        self._stepped = Event()
        self._stopped = False
        self._error: BaseException | None = None

    def start(self, function: Callable[..., object], *args: Any, count: int = 0) -> None:
        """Have something done, as soon as there is room.

        :param function: does it.
        :param args: its arguments.
        :param count: how many bytes it is about.
        :raises BaseException: what something that was started before has failed with.
        """
        held = min(count, _FILE_MAX)
        while self._working and (
            len(self._working) >= self._size or self._held + held > _BYTES_MAX
        ):
            self.wait()
        self.check()
        worker = gevent.Greenlet(self._work, function, *args)
        self._working[worker] = held
        self._held += held
        worker.rawlink(self._done)
        worker.start()

    def _work(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except KeyboardInterrupt as ex:
            # It is meant for the program, and whoever works on ends with less than all.
            pass_on(ex)
            self._error = self._error or StoppedError(
                "The copy was ended before its end: this program was interrupted"
            )
        except BaseException as ex:  # noqa: BLE001 (it is raised where the work was asked for)
            # Also what is no Exception, such as gevent.Timeout out of a progress function: a file
            # is missing then.
            if self._error is None and not self._stopped:
                self._error = ex

    def _done(self, worker: gevent.Greenlet) -> None:
        self._held -= self._working.pop(worker)
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

    def settle(self) -> None:
        """Wait until everything is done, or has failed."""
        gevent.joinall(list(self._working))

    def finish(self) -> None:
        """Wait until everything is done.

        :raises BaseException: what the first of them failed with.
        """
        self.settle()
        self.check()

    def stop(self) -> None:
        """Leave everything as it is."""
        self._stopped = True
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
        except Exception:
            scouts.stop()
            # A file that has been begun is brought to its end, also after another one's error:
            # nothing is left that is neither whole nor removed.
            copiers.settle()
            raise
        copiers.finish()
    except Exception:
        raise
    except BaseException:
        scouts.stop()
        copiers.stop()
        raise
