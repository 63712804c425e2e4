"""What is sent to the remote side as a command: substitution, sudo, shell, quoting. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pssh.exceptions import HostArgumentError, InvalidAPIUseError

DEFAULT_SHELL = "$SHELL -c"
"""The login shell of the remote user: ``sshd`` sets ``SHELL``, its shell expands it."""


def fully_qualified_command(
    command: str,
    *,
    sudo: bool = False,
    user: str | None = None,
    shell: str | None = None,
    sudo_prompt: str | None = None,
    sudo_wrapper: str | None = None,
    replace_login_shell: bool = False,
    encoding: str = "utf-8",
) -> bytes:
    """Build the bytes of an ``exec`` request (RFC 4254 section 6.5).

    :param command: what the user wants to run; it is quoted, so it may contain quotes.
    :param sudo: run it through ``sudo -S``.
    :param user: run it as this user through ``sudo -u``.
    :param shell: the shell and its option for a command, such as ``"bash -c"``.
    :param sudo_prompt: a prompt for sudo to print in place of its own.
    :param sudo_wrapper: what sudo runs, with the shell and the command as its arguments.
    :param replace_login_shell: leave no login shell that waits for the command. Not possible
        with a ``shell``, which may be anything that a login shell understands.
    :param encoding: how the command is encoded.
    :raises InvalidAPIUseError: when the command, the user or the shell contains a NUL, which no
        shell can take.
    """
    words = ["exec"] if replace_login_shell and shell is None else []
    if sudo or user is not None:
        words.append("sudo -S")
        if sudo_prompt is not None:
            words.append(f"-p {shlex.quote(sudo_prompt)}")
        if user is not None:
            words.append(f"-u {shlex.quote(user)}")
        if sudo_wrapper is not None:
            words.append(sudo_wrapper)
    words.append(shell or DEFAULT_SHELL)
    words.append("'" + command.replace("'", "'\"'\"'") + "'")
    line = " ".join(words)
    if "\0" in line:
        raise InvalidAPIUseError("A command cannot contain a NUL character: %r", command)
    return line.encode(encoding)


def commands_for_hosts(
    command: str, host_count: int, host_args: Sequence[Any] | None = None
) -> list[str]:
    """Substitute each host's arguments into a command.

    :param command: the command, with ``%`` conversions where there are ``host_args``.
    :param host_count: how many hosts there are.
    :param host_args: a tuple, list or dict for each host, or a single value.
    :returns: one command for each host.
    :raises HostArgumentError: when there are fewer arguments than hosts.
    :raises TypeError: when a value is missing for a conversion, or one is left over.
    :raises KeyError: when a name is missing.
    """
    if host_args is None:
        return [command] * host_count
    arguments = list(host_args)
    if len(arguments) < host_count:
        raise HostArgumentError(
            "Number of host arguments provided does not match number of hosts: "
            "%s arguments for %s hosts",
            len(arguments),
            host_count,
        )
    return [command % _percent_operand(argument) for argument in arguments[:host_count]]


def _percent_operand(argument: Any) -> Any:
    if isinstance(argument, list):
        return tuple(argument)
    if isinstance(argument, Mapping | tuple):
        return argument
    return (argument,)
