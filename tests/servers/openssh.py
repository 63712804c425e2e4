"""A real OpenSSH server on loopback."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.account import Account
from tests.servers.keys import authorized_lines, create_host_key, public_line
from tests.servers.process import ServerProcess, find_program
from tests.servers.server import ForkingServer

Options = Mapping[str, str | Sequence[str]]

#: Options for a server whose algorithms are no matter to a test. With the curve that is its default
#: sshd computes in a slow way of its own, which takes a third of all that a connection costs it.
QUICK: dict[str, str] = {"KexAlgorithms": "ecdh-sha2-nistp256"}

PRIVILEGE_SEPARATION_FOLDER = Path("/run/sshd")


class OpenSSHServer(ForkingServer):
    """``sshd`` with its own keys and configuration in a folder; a context manager.

    :param folder: an existing folder for its files.
    :param account: the account that may log in.
    :param options: sshd_config keywords that replace ours; a sequence repeats the keyword.
    :param host_keys: kinds of host key to create, or paths of private keys to use.
    :param authorized_keys: keys (either half's path) that open the account.
    :param ipv6: listen on ``::1`` as well, on the same port.
    :param environment: further environment variables of the server.

    Further attributes: ``host_key_paths``, ``authorized_keys_path``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        account: Account,
        options: Options | None = None,
        host_keys: Sequence[str | Path] = ("ed25519", "ecdsa", "rsa"),
        authorized_keys: Sequence[Path] = (),
        ipv6: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._program = find_program("sshd", "openssh-server")
        super().__init__(folder, "sshd", account.name, account.password)
        self._account = account
        self._options = {name.lower(): (name, value) for name, value in (options or {}).items()}
        if ipv6:
            self.hosts = (self.host, "::1")
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            **(environment or {}),
        }
        self.host_key_paths = [self._host_key(key) for key in host_keys]
        self.authorized_keys_path = self._authorize(authorized_keys)
        self.host_key_lines = [public_line(path) for path in self.host_key_paths]
        self._start_on_a_free_port()

    def _host_key(self, key: str | Path) -> Path:
        if isinstance(key, Path):
            return key.absolute()
        return create_host_key(self.folder / f"ssh_host_{key}_key", key)

    def _authorize(self, keys: Sequence[Path]) -> Path:
        # sshd reads this file as the account, which cannot enter the folders of root's tests.
        folder = self._account.folder / f"sshd-{self.folder.name}-{id(self)}"
        folder.mkdir()
        path = folder / "authorized_keys"
        path.write_text(authorized_lines(keys))
        self._account.give(path, 0o600)
        self._account.give(folder, 0o700)
        return path

    def _launch(self, port: int) -> ServerProcess:
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION_FOLDER.mkdir(mode=0o755, exist_ok=True)
        configuration = self.folder / "sshd_config"
        configuration.write_text(self._configuration(port))
        arguments = ["-f", str(configuration)]
        return ServerProcess(
            # Started anew for each connection, sshd loads its libraries and reads its files each
            # time, which is half of what a connection costs it; without -r it would do so.
            [self._program, "-D", "-e", "-r", *arguments],
            self.log_path,
            environment=self._environment,
        )

    def _configuration(self, port: int) -> str:
        lines = []
        for name, value in self._defaults(port).items():
            if name.lower() not in self._options:
                lines += _lines(name, value)
        for name, value in self._options.values():
            lines += _lines(name, value)
        return "\n".join(lines) + "\n"

    def _defaults(self, port: int) -> dict[str, str | Sequence[str]]:
        interactive = self._options.get("kbdinteractiveauthentication", ("", "no"))[1]
        return {
            "ListenAddress": [f"[{host}]:{port}" for host in self.hosts],
            "HostKey": [str(path) for path in self.host_key_paths],
            "PidFile": str(self.folder / "sshd.pid"),
            "AuthorizedKeysFile": str(self.authorized_keys_path),
            "AllowUsers": self.user,
            "StrictModes": "no",
            "PasswordAuthentication": "no" if self.password is None else "yes",
            "KbdInteractiveAuthentication": "no",
            # On Linux only PAM asks keyboard-interactive questions.
            "UsePAM": "yes" if interactive == "yes" else "no",
            "MaxStartups": "1000",
            "MaxSessions": "100",
            "UseDNS": "no",
            "PrintMotd": "no",
            "PrintLastLog": "no",
            "Subsystem": "sftp internal-sftp",
        }


def _lines(name: str, value: str | Sequence[str]) -> list[str]:
    values = [value] if isinstance(value, str) else value
    return [f"{name} {each}" for each in values]
