"""A command's standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pssh.clients.base.command import Command
    from pssh.clients.base.host import HostClient


class Stdin:
    """Writes to a command that runs.

    :param command: the command.
    :param encoding: how text is encoded.
    :param client: the host's client.
    """

    __slots__ = ("_client", "_command", "_encoding")

    def __init__(self, command: Command, encoding: str | None, client: HostClient) -> None:
        self._command = command
        self._encoding = encoding or "utf-8"
        # It is kept alive as long as there is something to write to.
        self._client = client

    def write(self, data: str | bytes) -> int:
        """Send data, waiting until the server has room for it.

        :param data: text, or bytes.
        :returns: the number of bytes.
        :raises SessionError: when the command has finished or its input was closed.
        :raises ConnectionLostError: when the connection has ended.
        """
        encoded = data.encode(self._encoding) if isinstance(data, str) else data
        try:
            self._command.write(encoded)
        except KeyboardInterrupt:
            self._client.interrupted(self._command)
            raise
        return len(encoded)

    def flush(self) -> None:
        """Do nothing: :meth:`write` has sent everything when it returns."""

    def close(self) -> None:
        """Send EOF: the command gets no more input. To a terminal Ctrl-D is typed as well.

        :raises ConnectionLostError: when the connection has ended.
        """
        self._command.end_input()
