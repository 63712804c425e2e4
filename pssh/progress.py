"""How far work on many hosts has come, for the people who wait for it.

It needs the extra ``parallel-ssh[progress]``, which brings the package ``rich``.
"""

from __future__ import annotations

import os
import select
import sys
import time
from types import TracebackType
from typing import IO, Any

import gevent
from gevent.monkey import get_original

from pssh.exceptions import InvalidAPIUseError
from pssh.fleet import FleetResult, HostResult, HostState, Observer

#: What is counted, and in which order and colour it is shown.
_SHOWN = (
    (HostState.CONNECTING, "cyan"),
    (HostState.RUNNING, "cyan"),
    (HostState.OK, "green"),
    (HostState.FAILED, "red"),
    (HostState.UNREACHABLE, "yellow"),
    (HostState.NOT_TRIED, "magenta"),
)

# The real one, also when the program has made the standard library cooperative.
_poll = get_original("select", "poll")


class Progress(Observer):
    """A line on the terminal that counts hosts: connecting, running, ok, failed and so on.

    It is an observer of ``run_command``, ``connect_auth`` and the functions that copy, of one
    call or of several, and a context manager: the line lives as long as the block. Where there
    is no terminal it shows nothing.

    It has no thread. A timer of the event loop draws the line, not more often than asked for,
    only when something has changed, and never while the terminal takes nothing.

    :param title: stands before the line.
    :param file: the terminal's stream, ``sys.stderr`` by default.
    :param interval: seconds between two times that the line is drawn.
    :raises InvalidAPIUseError: when ``rich`` is not installed.
    """

    def __init__(self, title: str = "", file: IO[str] | None = None, interval: float = 0.1) -> None:
        self._rich = _import_rich()
        if not interval > 0:
            raise ValueError(f"interval is a number of seconds, more than 0, not {interval!r}")
        self._title = title
        self._file = file
        self._interval = interval
        self._hosts = 0
        self._counts = dict.fromkeys(HostState, 0)
        self._states: dict[HostResult, HostState] = {}
        self._bytes = 0
        self._began = time.monotonic()
        self._changed = False
        self._drawn_at = 0.0
        self._live: Any = None
        self._timer: Any = None

    # What it is told

    def run_began(self, result: FleetResult) -> None:
        """Count the hosts of a run."""
        self._hosts += len(result)
        self._changed = True

    def host_changed(self, host: HostResult) -> None:
        """Count a host where it is now."""
        before = self._states.pop(host, None)
        if before is not None:
            self._counts[before] -= 1
        self._counts[host.state] += 1
        if not host.state.final:
            self._states[host] = host.state
        self._changed = True

    def bytes_copied(self, host: HostResult, count: int) -> None:
        """Count bytes."""
        self._bytes += count
        self._changed = True

    # What it shows

    def text(self) -> str:
        """Return the line without its colours."""
        return str(self._line())

    def _line(self) -> Any:
        line = self._rich.Text(no_wrap=True, overflow="ellipsis")
        if self._title:
            line.append(f"{self._title} ", "bold")
        # What a narrow terminal cuts off is at the end.
        seconds = int(time.monotonic() - self._began)
        line.append(f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}  ", "dim")
        done = sum(number for state, number in self._counts.items() if state.final)
        line.append(f"{done}/{self._hosts} hosts")
        for state, colour in _SHOWN:
            if self._counts[state]:
                line.append(f"  {self._counts[state]} {state.value}", colour)
        if self._bytes:
            line.append(f"  {self._rich.decimal(self._bytes)}")
        return line

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        file = self._file if self._file is not None else sys.stderr
        console = self._rich.Console(file=file)
        if _is_terminal(file) and not console.is_dumb_terminal:
            self._live = self._rich.Live(
                console=console,
                auto_refresh=False,
                get_renderable=self._line,
                # What the program prints in between goes above the line. What does not go to
                # the terminal is none of our business.
                redirect_stdout=_is_terminal(sys.stdout),
                redirect_stderr=_is_terminal(sys.stderr),
            )
            self._live.start()
            self._timer = gevent.get_hub().loop.timer(
                self._interval, repeat=self._interval, ref=False
            )
            self._timer.start(self._draw)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is None:
            return
        self._timer.stop()
        self._timer.close()
        live, self._live, self._timer = self._live, None, None
        live.stop()

    def _draw(self) -> None:
        """Runs in the loop."""
        now = time.monotonic()
        # Once a second in any case, because of the time that it shows.
        if self._live is None or not (self._changed or now - self._drawn_at >= 1):
            return
        # A terminal that was stopped takes nothing, and must not stop the hosts.
        if not _takes_output(self._live.console.file):
            return
        self._changed, self._drawn_at = False, now
        self._live.refresh()


class _Rich:
    """What is used of ``rich``."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.filesize import decimal
        from rich.live import Live
        from rich.text import Text

        self.Console = Console
        self.Live = Live
        self.Text = Text
        self.decimal = decimal


def _import_rich() -> _Rich:
    try:
        return _Rich()
    except ImportError as ex:
        raise InvalidAPIUseError(
            "pssh.progress needs the package rich: install it with "
            "pip install 'parallel-ssh[progress]'"
        ) from ex


def _is_terminal(file: Any) -> bool:
    try:
        return os.isatty(file.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def _takes_output(file: Any) -> bool:
    """Whether a terminal takes something at this moment."""
    poll = _poll()
    poll.register(file.fileno(), select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))
