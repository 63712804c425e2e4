"""A command's lines for a callback, as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from pssh.clients.base.streams import as_text
from pssh.exceptions import InvalidAPIUseError
from pssh.output import HostOutput, Line, LineReader
from pssh.utils import logger

OnLine = Callable[[HostOutput, str, Line], object]


class LineFollower:
    """Calls back with each line of a command, one call at a time.

    A callback that raises gets no more lines of that command. The command runs on; what the
    callback has not had can be read from the output.

    :param output: the command's output.
    :param on_line: is called with the output, ``"stdout"`` or ``"stderr"``, and the line.
    """

    __slots__ = ("_callback", "_greenlets", "_host", "_one_at_a_time", "_running", "error", "over")

    def __init__(self, output: HostOutput, on_line: OnLine) -> None:
        self._callback = on_line
        self._host = output.host
        self._one_at_a_time = BoundedSemaphore(1)
        #: What the callback raised.
        self.error: Exception | None = None
        #: Set when the callback will not be called any more.
        self.over = Event()
        streams = (("stdout", output.stdout), ("stderr", output.stderr))
        self._running = len(streams)
        self._greenlets = [
            gevent.spawn(self._follow, output, name, lines) for name, lines in streams
        ]

    def raise_error(self) -> None:
        """Raise what the callback raised, if it did."""
        if self.error is not None:
            raise self.error

    def refuse_to_wait(self) -> None:
        """Refuse to let the callback wait for its own end, which would be for ever.

        :raises InvalidAPIUseError: when it is the callback that asks.
        """
        if gevent.getcurrent() in self._greenlets:
            raise InvalidAPIUseError(
                "on_line cannot wait for the command on host %s, whose lines it is given",
                self._host,
                host=self._host,
            )

    def _follow(self, output: HostOutput, name: str, lines: LineReader | None) -> None:
        try:
            if lines is not None:
                self._call_back(output, name, lines)
        finally:
            self._running -= 1
            if not self._running:
                self.over.set()

    def _call_back(self, output: HostOutput, name: str, lines: LineReader) -> None:
        while True:
            # No line is taken before its turn: what is not given to the callback stays.
            with self._one_at_a_time:
                if self.error is not None:
                    return
                for line in _lines_here(lines):
                    self._call(output, name, line)
                    if self.error is not None:
                        return
            if lines.at_end:
                return
            lines.wait()

    def _call(self, output: HostOutput, name: str, line: Line) -> None:
        try:
            self._callback(output, name, line)
        except Exception as ex:  # noqa: BLE001 (it is the user's function)
            self.error = ex
            logger.error("on_line raised an error for host %s", self._host, exc_info=ex)


def _lines_here(lines: LineReader) -> Iterator[Line]:
    """Iterate over the lines that have come; one that does not decode is shown with escapes."""
    here = lines.take_lines()
    while True:
        try:
            yield next(here)
        except StopIteration:
            return
        except UnicodeDecodeError as ex:
            yield as_text(ex.object)
            here = lines.take_lines()
