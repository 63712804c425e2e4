"""What is asked of a host when a command is run there."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pssh.clients.base.seam import STDERR, STDOUT
from pssh.clients.base.stdin_source import StdinSource, chunks_of
from pssh.clients.base.sudo import SudoDialogue
from pssh.command_line import fully_qualified_command
from pssh.config import is_text, is_variable
from pssh.exceptions import InvalidAPIUseError
from pssh.lines import is_wide
from pssh.output import terminal_size

if TYPE_CHECKING:
    from pssh.clients.base.follower import OnLine

Pty = tuple[str, int, int]

_NOT_IN_A_LINE = re.compile(r"[\r\n\0]")

DEFAULT_TERM = "vt100"
DEFAULT_PTY_SIZE = (80, 24)


@dataclass(slots=True)
class CommandRequest:
    """The arguments of :meth:`pssh.clients.base.single.BaseSSHClient.run_command`.

    :ivar pty: terminal type, columns and rows; ``None`` where no pseudo terminal is wanted.
    :raises LookupError: when there is no such codec or error handler.
    :raises ValueError: when a size, a time, a variable or a password is none.
    :raises TypeError: when the command is no text.
    :raises InvalidAPIUseError: for options that are of no use together.
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
    on_line: OnLine | None = None
    command_timeout: float | None = None
    kill_after: float | None = None
    pty: Pty | None = field(init=False)
    _plain_line: bytes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        # What cannot work has to be found out before anything is started.
        if not isinstance(self.command, str):
            raise TypeError(f"A command is a string, not {self.command!r}")
        check_encoding(self.encoding, self.encoding_errors)
        if self.on_line is not None and not callable(self.on_line):
            raise TypeError(f"on_line is a function of output, stream and line: {self.on_line!r}")
        check_environment(self.env)
        if self.sudo_password is not None and _NOT_IN_A_LINE.search(self.sudo_password):
            # Sudo reads one line, and what follows would be the command's input.
            raise ValueError("sudo_password cannot contain a line feed or a NUL character")
        _check_limit(self.command_timeout, self.kill_after)
        self.pty = wanted_pty(self.use_pty, self.pty_size, self.term)

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
        if dialogue is not None:
            return self._line(dialogue.prompt, dialogue.wrapper)
        # The same for all hosts: only what answers sudo has words of its own for each.
        if self._plain_line is None:
            self._plain_line = self._line(None, None)
        return self._plain_line

    def _line(self, sudo_prompt: str | None, sudo_wrapper: str | None) -> bytes:
        return fully_qualified_command(
            self.command,
            sudo=self.sudo or sudo_prompt is not None,
            user=self.user,
            shell=self.shell,
            sudo_prompt=sudo_prompt,
            sudo_wrapper=sudo_wrapper,
            # A login shell that TERM ends would leave behind a command that it does not end, and
            # servers send no KILL after that.
            replace_login_shell=self.command_timeout is not None,
            encoding=shell_encoding(self.encoding),
        )

    def stdin_chunks(self) -> Iterator[bytes]:
        """Iterate over what goes to the command's standard input."""
        return chunks_of(self.stdin, self.encoding)


def wanted_pty(use_pty: bool, size: tuple[int, int] | None, term: str | None) -> Pty | None:
    """Return terminal type, columns and rows; ``None`` where no pseudo terminal is wanted.

    :param use_pty: whether one is wanted in any case.
    :param size: columns and rows.
    :param term: its type.
    :raises ValueError: when the size or the type is none.
    """
    if not use_pty and size is None and term is None:
        return None
    if term and not is_text(term):
        raise ValueError(f"term is the type of a terminal, such as 'xterm', not {term!r}")
    return term or DEFAULT_TERM, *terminal_size(*(size or DEFAULT_PTY_SIZE))


def _is_value(value: object) -> bool:
    return value is not None and not isinstance(value, bytes) and "\0" not in str(value)


def check_environment(env: Mapping[str, str] | None) -> None:
    """Find out whether these can be environment variables.

    :param env: names and values; numbers are taken as text.
    :raises ValueError: when one of them cannot. The value stays out of the message: it may be a
        secret.
    """
    for name, value in (env or {}).items():
        if not is_variable(name):
            raise ValueError(f"No environment variable can be called {name!r}")
        if not _is_value(value):
            raise ValueError(
                f"The value of environment variable {name} must be text without a NUL character, "
                f"not this {type(value).__name__}"
            )


def check_encoding(encoding: str | None, errors: str) -> None:
    """Find out whether there is such an encoding.

    :param encoding: a codec's name, or ``None`` for bytes.
    :param errors: an error handler's name.
    :raises LookupError: when there is no such codec or error handler.
    """
    if encoding is not None:
        is_wide(encoding)
    codecs.lookup_error(errors)


def shell_encoding(encoding: str | None) -> str:
    """Return how a command is encoded whose output has an encoding.

    What a shell reads is not UTF-16, whatever its command prints.
    """
    return "utf-8" if encoding is None or is_wide(encoding) else encoding


def _check_limit(command_timeout: float | None, kill_after: float | None) -> None:
    if command_timeout is None and kill_after is not None:
        raise InvalidAPIUseError("kill_after is of use only together with command_timeout")
    for name, seconds in (("command_timeout", command_timeout), ("kill_after", kill_after)):
        if seconds is not None and not seconds > 0:
            raise ValueError(f"{name} is a number of seconds, more than 0, not {seconds!r}")
