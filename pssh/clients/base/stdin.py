"""A command's standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pssh.clients.base.command import Command


class Stdin:
    """Writes to a command that runs.

    :param command: the command.
    :param encoding: how text is encoded.
    :param keep: kept alive as long as there is something to write to.
    """

    __slots__ = ("_command", "_encoding", "_keep")

    def __init__(self, command: Command, encoding: str | None, keep: object = None) -> None:
        self._command = command
        self._encoding = encoding or "utf-8"
        self._keep = keep

    def write(self, data: str | bytes) -> int:
        """Send data, waiting until the server has room for it.

        :param data: text, or bytes.
        :returns: the number of bytes.
        :raises SessionError: when the command has finished or its input was closed.
        :raises ConnectionLostError: when the connection has ended.
        """
        encoded = data.encode(self._encoding) if isinstance(data, str) else data
        self._command.write(encoded)
        return len(encoded)

    def flush(self) -> None:
        """Do nothing: :meth:`write` has sent everything when it returns."""

    def close(self) -> None:
        """Send EOF: the command gets no more input. To a terminal Ctrl-D is typed as well.

        :raises ConnectionLostError: when the connection has ended.
        """
        self._command.end_input()
