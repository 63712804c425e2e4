"""What is asked of a host when a shell is started there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pssh.clients.base.command_request import (
    Pty,
    check_encoding,
    check_environment,
    wanted_pty,
)


@dataclass(slots=True)
class ShellRequest:
    """The arguments of :meth:`pssh.clients.base.single.BaseSSHClient.open_shell`.

    :ivar pty: terminal type, columns and rows; ``None`` where no pseudo terminal is wanted.
    :raises LookupError: when there is no such codec or error handler.
    :raises ValueError: when a size, a type or a variable is none.
    """

    encoding: str | None = "utf-8"
    read_timeout: float | None = None
    use_pty: bool = False
    pty_size: tuple[int, int] | None = None
    term: str | None = None
    env: Mapping[str, str] | None = None
    encoding_errors: str = "strict"
    timeout: float | None = None
    pty: Pty | None = field(init=False)

    def __post_init__(self) -> None:
        # What cannot work has to be found out before anything is started.
        check_encoding(self.encoding, self.encoding_errors)
        check_environment(self.env)
        self.pty = wanted_pty(self.use_pty, self.pty_size, self.term)
