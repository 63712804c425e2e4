"""An asyncssh server: other habits than OpenSSH's, and oddities on demand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.servers.keys import authorized_lines, create_host_key, public_line
from tests.servers.process import ServerProcess
from tests.servers.server import Server
from tests.servers.template import CopiedServer, Template

#: The module that the server's process runs.
CHILD = "tests.servers.asyncssh_child"


class AsyncSSHServer(Server):
    """``tests/servers/asyncssh_child.py`` with its own keys; a context manager.

    Commands run with ``/bin/sh -c`` as the user who runs the tests, except the special ones
    described in ``asyncssh_child.py``.

    :param folder: an existing folder for its files.
    :param template: has loaded :data:`CHILD`.
    :param authorized_keys: keys (either half's path) that open the account.
    :param user: the only user name it lets in.
    :param password: opens the account, ``None``: no password authentication.
    :param password_expired: whether it asks for a new password in place of taking that.
    :param answers: the answers that open the account by keyboard-interactive authentication, one
        a prompt ("Question 1: ", ...); none: no keyboard-interactive authentication.
    :param hang: steps that it never answers: ``auth``, ``open``, ``exec``. From the first ``exec``
        on it answers nothing on any connection.
    :param host_keys: kinds of host key to create.
    :param kex_names: names that it puts before its methods of key exchange from the second
        exchange on, of which there is one after each 256 KiB then.
    """

    def __init__(
        self,
        folder: Path,
        *,
        template: Template,
        authorized_keys: Sequence[Path] = (),
        user: str = "pssh",
        password: str | None = None,
        password_expired: bool = False,
        answers: Sequence[str] = (),
        hang: Sequence[str] = (),
        host_keys: Sequence[str] = ("ed25519",),
        kex_names: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, "asyncssh", user, password)
        self._template = template
        self.host_key_paths = [
            create_host_key(self.folder / f"asyncssh_{kind}_host_key", kind) for kind in host_keys
        ]
        self.host_key_lines = [public_line(path) for path in self.host_key_paths]
        self.authorized_keys_path = self.folder / "authorized_keys"
        self.authorized_keys_path.write_text(authorized_lines(authorized_keys))
        self._options = [
            *(f"--host-key={path}" for path in self.host_key_paths),
            f"--authorized-keys={self.authorized_keys_path}",
            f"--user={user}",
            *([] if password is None else [f"--password={password}"]),
            *(["--password-expired"] if password_expired else []),
            *(f"--answer={answer}" for answer in answers),
            *(f"--hang-{step}" for step in hang),
            *(f"--kex-name={name}" for name in kex_names),
        ]
        self._start_on_a_free_port()

    def _launch(self, port: int) -> ServerProcess:
        source = f"from {CHILD} import main; main()"
        process = CopiedServer(
            self._template, source, [f"--port={port}", *self._options], self.log_path
        )
        try:
            process.read_line()
        except BaseException:
            process.stop()
            raise
        return process
