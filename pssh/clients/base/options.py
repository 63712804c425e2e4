"""What can be asked for besides on many hosts, for type checkers, and for who misspells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pssh.clients.base.follower import OnLine


class CommandOptions(TypedDict, total=False):
    """Of commands. Each is that of :meth:`pssh.clients.base.single.BaseSSHClient.run_command`."""

    env: Mapping[str, str] | None
    sudo_password: str | None
    pty_size: tuple[int, int] | None
    term: str | None
    encoding_errors: str
    on_line: OnLine | None
    command_timeout: float | None
    kill_after: float | None


class ShellOptions(TypedDict, total=False):
    """Of shells. Each is that of :meth:`pssh.clients.base.single.BaseSSHClient.open_shell`."""

    use_pty: bool
    pty_size: tuple[int, int] | None
    term: str | None
    env: Mapping[str, str] | None
    encoding_errors: str
    timeout: float | None


def check_names(function: str, given: Iterable[str], options: type) -> None:
    """Raise for an option that there is not, as Python does.

    :param function: what the options were given to.
    :param given: their names.
    :param options: those that there are, as a typed dictionary.
    :raises TypeError: naming one that is none of them.
    """
    for name in given:
        if name in options.__annotations__:
            continue
        # Scripts for 1.x have it, where it was what is read_timeout since 2.0.
        hint = ": see read_timeout and command_timeout" if name == "timeout" else ""
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
