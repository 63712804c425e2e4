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
        host_logger.info("%s%s", prefix, line)


def _until_end(lines: LineReader) -> Iterator[Line]:
    """Iterate over lines; a stream that is cut off ends. Its output says so elsewhere."""
    lines.read_timeout = None
    while True:
        try:
            yield from lines
            return
        except UnicodeDecodeError as ex:
            yield ex.object.decode("utf-8", "backslashreplace")
        except PSSHError:
            return


def stream_lines(outputs: Sequence[HostOutput]) -> Iterator[tuple[HostOutput, str, Line]]:
    """Iterate over the lines of several outputs as they come.

    :param outputs: the outputs.
    """
    queue: Queue[tuple[HostOutput, str, Line] | None] = Queue(_WAITING_MAX)

    def move(output: HostOutput, name: str, lines: LineReader) -> None:
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
