"""A real Dropbear server on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.account import Account
from tests.servers.keys import authorized_lines, public_line
from tests.servers.process import MissingProgramError, ServerProcess, find_program
from tests.servers.server import ForkingServer

PACKAGE = "dropbear-bin"


class DropbearServer(ForkingServer):
    """``dropbear`` with its own host keys in a folder; a context manager.

    It reads the account's ``~/.ssh/authorized_keys`` and nothing else, so it needs an account that
    was made for us, which only root can have.

    :param folder: an existing folder for its files.
    :param account: the account that may log in.
    :param host_keys: kinds of host key to create (``dropbearkey -t``), or paths of OpenSSH's
        private keys to use.
    :param authorized_keys: keys (either half's path) that open the account.
    :param arguments: further arguments for ``dropbear``.
    :raises MissingProgramError: when Dropbear is not installed or we are not root.

    Further attribute: ``host_key_paths``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        account: Account,
        host_keys: Sequence[str | Path] = ("ed25519", "ecdsa", "rsa"),
        authorized_keys: Sequence[Path] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self._program = find_program("dropbear", PACKAGE)
        if not account.temporary:
            raise MissingProgramError("Dropbear needs an account of its own, which needs root.")
        super().__init__(folder, "dropbear", account.name, account.password)
        self._arguments = arguments
        self.host_key_paths = [self._host_key(key) for key in host_keys]
        _authorize(account, authorized_keys)
        self._start_on_a_free_port()

    def _host_key(self, key: str | Path) -> Path:
        if isinstance(key, str):
            return self._create_host_key(key)
        path = self.folder / f"dropbear_{key.name}"
        convert = [find_program("dropbearconvert", PACKAGE), "openssh", "dropbear"]
        subprocess.run([*convert, str(key), str(path)], check=True, capture_output=True)
        self.host_key_lines.append(public_line(key))
        return path

    def _create_host_key(self, kind: str) -> Path:
        path = self.folder / f"dropbear_{kind}_host_key"
        made = subprocess.run(
            [find_program("dropbearkey", PACKAGE), "-t", kind, "-f", str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
        lines = [line for line in made.stdout.splitlines() if line.startswith(("ssh-", "ecdsa-"))]
        self.host_key_lines.append(" ".join(lines[0].split()[:2]))
        return path

    def _launch(self, port: int) -> ServerProcess:
        host_keys = [part for path in self.host_key_paths for part in ("-r", str(path))]
        return ServerProcess(
            [
                *(self._program, "-F", "-E", "-m", "-p", f"{self.host}:{port}"),
                *("-P", str(self.folder / "dropbear.pid")),
                *host_keys,
                *self._arguments,
            ],
            self.log_path,
            environment={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
        )


def _authorize(account: Account, keys: Sequence[Path]) -> None:
    folder = account.home / ".ssh"
    folder.mkdir(exist_ok=True)
    path = folder / "authorized_keys"
    path.write_text(authorized_lines(keys))
    account.give(path, 0o600)
    account.give(folder, 0o700)
