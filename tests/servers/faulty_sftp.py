"""An OpenSSH server whose SFTP misbehaves where a test says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.servers import sftp_between
from tests.servers.account import Account
from tests.servers.openssh import QUICK, OpenSSHServer
from tests.servers.process import MissingProgramError

#: Where the systems put ``sftp-server``; it is in no search path.
FOLDERS = ("/usr/lib/openssh", "/usr/lib/ssh", "/usr/libexec/openssh", "/usr/libexec")


class Fault:
    """What goes wrong with requests of one kind, counted from the beginning of a session.

    :param on: the kind of request, without its ``SSH_FXP_``.
    :param do: what happens:

        - ``"ignore"``: it is never answered, though those after it are;
        - ``"stop"``: nothing is read any more;
        - ``"exit"``: the SFTP server ends;
        - ``"refuse"``: answered with the status ``code`` (SSH_FX_FAILURE) and ``message``;
        - ``"run"``: first, ``command`` is run by the shell;
        - ``"hold"``: its reply comes after ``replies`` later ones;
        - ``"half"``: half of its reply comes, and then the end;
        - ``"say"``: in place of its reply come ``bytes`` (hexadecimal);
        - ``"reply"``: in place of its reply comes one of type ``kind`` with ``body``
          (hexadecimal);
        - ``"other id"``: its reply has the id of a request that nobody made;
        - ``"data"``: its reply has ``at_most`` so many bytes of data, or so many ``more``;
        - ``"names"``: its reply has ``names``: each a name, in which ``#`` stands for a number
          that grows, and a mode;
        - ``"attributes"``: its reply says another ``size`` or ``mode``;
        - ``"extensions"``: its reply, the version, comes ``without`` these extensions.
    :param first: the first request of that kind to which it happens.
    :param last: the last one; ``None`` for all after the first one, by default the first.
    """

    def __init__(
        self, on: str, do: str, first: int = 1, last: int | None = 0, **values: object
    ) -> None:
        assert on in sftp_between.REQUESTS.values(), on
        names = values.get("names")
        if isinstance(names, list):
            values["names"] = [(os.fsencode(name).hex(), mode) for name, mode in names]
        last = first if last == 0 else last
        self.plan = {
            "on": on,
            "do": do,
            "first": first,
            "last": last,
            **{name.replace("_", " "): value for name, value in values.items()},
        }


class FaultySFTPServer(OpenSSHServer):
    """``sshd`` with :mod:`tests.servers.sftp_between` before OpenSSH's ``sftp-server``.

    :param folder: an existing folder for its files.
    :param account: the account that may log in.
    :param authorized_keys: keys (either half's path) that open the account.
    :raises MissingProgramError: when there is no ``sftp-server``, or no Python for the account.
    """

    def __init__(self, folder: Path, *, account: Account, authorized_keys: Sequence[Path]) -> None:
        self._plan = account.folder / f"plan-{folder.name}-{id(self)}"
        program = account.folder / f"between-{folder.name}-{id(self)}"
        program.write_bytes(Path(sftp_between.__file__).read_bytes())
        account.give(program, 0o644)
        self.plan()
        account.give(self._plan, 0o644)
        python, server = python_for(account), sftp_server()
        super().__init__(
            folder,
            account=account,
            options={**QUICK, "Subsystem": f"sftp {python} -IS {program} {self._plan} {server}"},
            host_keys=("ed25519",),
            authorized_keys=authorized_keys,
        )

    def plan(self, *faults: Fault) -> None:
        """Say what goes wrong in sessions that begin from now on.

        :param faults: the first one that fits a request counts.
        """
        self._plan.write_text(repr([fault.plan for fault in faults]))


def sftp_server() -> str:
    """The path of OpenSSH's SFTP server."""
    found = shutil.which("sftp-server", path=os.pathsep.join(FOLDERS))
    if found is None:
        raise MissingProgramError(
            "sftp-server is not installed (Debian package openssh-sftp-server)."
        )
    return found


@cache
def python_for(account: Account) -> str:
    """The path of an interpreter that the account may run."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(python).exists() and _may_run(python, account):
            return python
    raise MissingProgramError("There is no Python that the account can run (Debian: python3).")


def _may_run(python: str, account: Account) -> bool:
    settings = {"user": account.uid, "group": account.gid} if account.temporary else {}
    try:
        subprocess.run([python, "-IS", "-c", ""], check=True, cwd="/", **settings)  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return False
    return True
