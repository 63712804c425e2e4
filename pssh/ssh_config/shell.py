"""Commands of ``Match exec``."""

from __future__ import annotations

import os
from contextlib import suppress

#: Runs a command and says on descriptor 3 how it ended. Waiting for the process would not do: where
#: the program watches its children, somebody else may have taken note of the end of this one.
_SCRIPT = '"$0" -c "$1" </dev/null >/dev/null 3>&-; echo $? >&3'


def succeeds(command: str) -> bool:
    """Run a command in the user's shell, and wait for it; whether its exit status is 0.

    It reads and prints nothing but what goes to standard error, as with OpenSSH.

    :raises OSError: when it cannot be started.
    """
    shell = os.environ.get("SHELL") or "/bin/sh"
    reading, writing = os.pipe()
    try:
        try:
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", _SCRIPT, shell, command],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, writing, 3)],
            )
        finally:
            os.close(writing)
        said = b""
        while part := os.read(reading, 64):
            said += part
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    finally:
        os.close(reading)
    return said.strip() == b"0"
