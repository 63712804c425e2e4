"""What is asked of a host when a command is run there."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pssh.clients.base.seam import STDERR, STDOUT
from pssh.clients.base.sudo import SudoDialogue
from pssh.command_line import fully_qualified_command
from pssh.lines import is_wide

StdinSource = str | bytes | Iterable[str | bytes]

DEFAULT_TERM = "vt100"
DEFAULT_PTY_SIZE = (80, 24)


@dataclass(slots=True)
class CommandRequest:
    """The arguments of :meth:`pssh.clients.base.single.BaseSSHClient.run_command`.

    :raises LookupError: when there is no such codec or error handler.
    """

    command: str
    sudo: bool = False
    user: str | None = None
    use_pty: bool = False
    shell: str | None = None
    encoding: str | None = "utf-8"
    timeout: float | None = None
    read_timeout: float | None = None
    env: Mapping[str, str] | None = None
    sudo_password: str | None = field(default=None, repr=False)
    pty_size: tuple[int, int] | None = None
    term: str | None = None
    stdin: StdinSource | None = field(default=None, repr=False)
    encoding_errors: str = "strict"

    def __post_init__(self) -> None:
        # A codec that does not exist has to be found out before anything is started.
        if self.encoding is not None:
            is_wide(self.encoding)
        codecs.lookup_error(self.encoding_errors)

    @property
    def pty(self) -> tuple[str, int, int] | None:
        """Terminal type, columns and rows; ``None`` where no pseudo terminal is wanted."""
        if not self.use_pty and self.pty_size is None and self.term is None:
            return None
        columns, rows = self.pty_size or DEFAULT_PTY_SIZE
        return self.term or DEFAULT_TERM, columns, rows

    def sudo_dialogue(self) -> SudoDialogue | None:
        """Return what answers sudo, ``None`` where there is no password for it."""
        if self.sudo_password is None:
            return None
        return SudoDialogue(self.sudo_password, STDERR if self.pty is None else STDOUT)

    def line(self, dialogue: SudoDialogue | None) -> bytes:
        """Return the bytes to send.

        :param dialogue: what :meth:`sudo_dialogue` returned.
        :raises InvalidAPIUseError: when no shell could take the command.
        """
        # What a shell reads is not UTF-16, whatever its command prints.
        wide = self.encoding is None or is_wide(self.encoding)
        return fully_qualified_command(
            self.command,
            sudo=self.sudo or dialogue is not None,
            user=self.user,
            shell=self.shell,
            sudo_prompt=dialogue.prompt if dialogue is not None else None,
            sudo_wrapper=dialogue.wrapper if dialogue is not None else None,
            encoding="utf-8" if wide or self.encoding is None else self.encoding,
        )

    def stdin_chunks(self) -> Iterator[bytes]:
        """Iterate over what goes to the command's standard input."""
        source = self.stdin if self.stdin is not None else ()
        for chunk in [source] if isinstance(source, str | bytes) else source:
            yield chunk.encode(self.encoding or "utf-8") if isinstance(chunk, str) else chunk
