"""What OpenSSH's SFTP server says that it has written."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.peer import RunError

if TYPE_CHECKING:
    from tests.servers.account import Account

#: Where the program is, which is on no search path.
FOLDERS = ("/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec")


class SFTPLog:
    """A log of the files that the server has closed.

    :param account: writes it.
    """

    def __init__(self, account: Account) -> None:
        self._path = account.folder / "sftp.log"
        self._path.touch()
        account.give(self._path, 0o600)

    @property
    def options(self) -> dict[str, str]:
        """What the server needs in its configuration."""
        program = shutil.which("sftp-server", path=os.pathsep.join(FOLDERS))
        if program is None:
            raise FileNotFoundError("sftp-server is not installed (openssh-sftp-server).")
        return {"Subsystem": f"sftp {program} -e -l INFO 2>>{self._path}"}

    def check(self, files: int, size: int) -> None:
        """See whether so many files of that size have been written.

        :raises RunError: when others were.
        """
        said = self._path.read_text(errors="replace")
        written = Counter(map(int, re.findall(r"^close .* written (\d+)\r?$", said, re.MULTILINE)))
        if written != {size: files}:
            raise RunError(
                f"The server wrote files of {dict(written)} bytes, not {files} x {size}."
            )

    def clear(self) -> None:
        """Forget what was written."""
        os.truncate(self._path, 0)
