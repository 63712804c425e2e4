"""Lines from several outputs as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gevent
from gevent.queue import Queue

from pssh.exceptions import PSSHError
from pssh.output import HostOutput, Line, LineReader
from pssh.utils import host_logger

#: Lines that wait for whoever takes them, of all hosts together. More stay where they are.
_WAITING_MAX = 1024


def log_output(output: HostOutput) -> gevent.Greenlet:
    """Log a host's lines to the host logger as they come.

    :returns: a greenlet that ends with the output.
    """
    return gevent.spawn(_log_both, output)


def _log_both(output: HostOutput) -> None:
    _followed(output)
    name = output.alias or output.host
    readers = [
        gevent.spawn(_log_stream, output.stdout, f"[{name}]\t"),
        gevent.spawn(_log_stream, output.stderr, f"[{name}]\t[err]\t"),
    ]
    try:
        gevent.joinall(readers)
    finally:
        gevent.killall(readers, block=False)


def _log_stream(lines: LineReader | None, prefix: str) -> None:
    if lines is None:
        return
    for line in _until_end(lines):
        host_logger.info("%s%s", prefix, as_text(line) if isinstance(line, bytes) else line)


def _until_end(lines: LineReader) -> Iterator[Line]:
    """Iterate over lines; a stream that is cut off ends. Its output says so elsewhere."""
    lines.read_timeout = None
    while True:
        try:
            yield from lines
            return
        except UnicodeDecodeError as ex:
            yield as_text(ex.object)
        except PSSHError:
            return


def as_text(line: bytes) -> str:
    """Return a line for people, with an escape for each byte that is no text."""
    return line.decode("utf-8", "backslashreplace")


def _followed(output: HostOutput) -> None:
    """Wait until ``on_line`` has had its lines: two that read at once would share them."""
    command = output.command
    if command is not None and command.follower is not None:
        command.follower.over.wait()


def stream_lines(outputs: Sequence[HostOutput]) -> Iterator[tuple[HostOutput, str, Line]]:
    """Iterate over the lines of several outputs as they come.

    :param outputs: the outputs.
    """
    queue: Queue[tuple[HostOutput, str, Line] | None] = Queue(_WAITING_MAX)

    def move(output: HostOutput, name: str, lines: LineReader) -> None:
        _followed(output)
        for line in _until_end(lines):
            queue.put((output, name, line))
        queue.put(None)

    movers = [
        gevent.spawn(move, output, name, lines)
        for output in outputs
        for name, lines in (("stdout", output.stdout), ("stderr", output.stderr))
        if lines is not None
    ]
    running = len(movers)
    try:
        while running:
            item = queue.get()
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        gevent.killall(movers, block=False)
