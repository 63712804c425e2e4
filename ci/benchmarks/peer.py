"""The clients that are compared."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import CHECKOUT, Environment, SystemEnvironment
from benchmarks.gauge import Figures, Settings

#: Seconds; the longest run takes five and a half minutes on two cores (asyncssh, small files).
RUN_TIMEOUT = 900


class RunError(RuntimeError):
    """A peer did not do what was to be measured."""


@dataclass(frozen=True)
class Peer:
    """A client of a library.

    :ivar name: for the table.
    :ivar environment: where it is installed.
    :ivar worker: the module that measures it.
    :ivar client_module: where the worker finds the client, if there is a choice.
    :ivar checks_host_keys: whether it is given a known_hosts file; 2.x cannot check host keys.
    """

    name: str
    environment: Environment
    worker: str
    client_module: str = ""
    checks_host_keys: bool = True

    def run(self, settings: Settings, home: Path) -> Figures:
        """Do one measured run in a fresh process.

        :param home: an empty home folder for it.
        :raises RunError: when it fails (its error output is in the message) or takes too long.
        """
        own = {
            **settings,
            "client_module": self.client_module,
            "checks_host_keys": self.checks_host_keys,
        }
        command = [str(self.environment.python), "-m", f"benchmarks.{self.worker}", json.dumps(own)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=self.environment.variables(home),
                cwd=home,
                timeout=RUN_TIMEOUT,
            )
        except subprocess.TimeoutExpired as error:
            raise RunError(f"{self.name} took over {RUN_TIMEOUT} s at {settings}.") from error
        if done.returncode:
            raise RunError(f"{self.name} failed at {settings}:\n{done.stderr.strip()}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures


_OURS = Environment("ours", (CHECKOUT / "requirements.txt").read_text(), has_checkout=True)
_RELEASE = Environment("parallel-ssh", "parallel-ssh==2.16.*")
_NATIVE, _LIBSSH = "pssh.clients.native", "pssh.clients.ssh"

NATIVE = Peer("native", _OURS, "pssh_worker", _NATIVE)
LIBSSH = Peer("libssh", _OURS, "pssh_worker", _LIBSSH)
PARALLEL_SSH = Peer("parallel-ssh", _RELEASE, "pssh_worker", _NATIVE, checks_host_keys=False)
PARALLEL_SSH_LIBSSH = Peer(
    "parallel-ssh's libssh", _RELEASE, "pssh_worker", _LIBSSH, checks_host_keys=False
)
ASYNCSSH = Peer("asyncssh", Environment("asyncssh", "asyncssh"), "asyncssh_worker")
OPENSSH = Peer("OpenSSH's sftp", SystemEnvironment("OpenSSH", ""), "openssh_worker")

OURS = (NATIVE, LIBSSH)
PEERS = (*OURS, PARALLEL_SSH, PARALLEL_SSH_LIBSSH, ASYNCSSH, OPENSSH)
