"""The clients that are compared."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import CHECKOUT, Environment, SystemEnvironment
from benchmarks.gauge import Figures, Settings
from tests.servers.process_tree import kill_trees


class RunError(RuntimeError):
    """A peer did not do what was to be measured."""


class TookTooLongError(RunError):
    """A peer was ended because it took too long."""


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

    def run(self, settings: Settings, home: Path, patience: float) -> Figures:
        """Do one measured run in a fresh process.

        :param home: an empty home folder for it.
        :param patience: seconds that it may take, its start included.
        :raises RunError: when it fails; its error output is in the message.
        :raises TookTooLongError: when it takes longer. It has been ended then.
        """
        own = {
            **settings,
            "client_module": self.client_module,
            "checks_host_keys": self.checks_host_keys,
        }
        command = [str(self.environment.python), "-m", f"benchmarks.{self.worker}", json.dumps(own)]
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment.variables(home),
            cwd=home,
        )
        try:
            output, errors = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired as error:
            raise TookTooLongError(f"{self.name} took over {patience:g} s.") from error
        finally:
            if process.poll() is None:
                kill_trees([process.pid])
                process.communicate()
        if process.returncode:
            raise RunError(f"{self.name} failed:\n{errors.strip()}")
        try:
            figures: Figures = json.loads(output.splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise RunError(f"{self.name} reported no figures, but:\n{output}") from error
        return {**figures, "process": time.perf_counter() - started}


_OURS = Environment("ours", (CHECKOUT / "requirements.txt").read_text(), has_checkout=True)
_RELEASE = Environment("parallel-ssh", "parallel-ssh==2.16.*")
_NATIVE, _LIBSSH = "pssh.clients.native", "pssh.clients.ssh"

NATIVE = Peer("native", _OURS, "pssh_worker", _NATIVE)
LIBSSH = Peer("libssh", _OURS, "pssh_worker", _LIBSSH)
PARALLEL_SSH = Peer("parallel-ssh", _RELEASE, "pssh_worker", _NATIVE, checks_host_keys=False)
PARALLEL_SSH_LIBSSH = Peer(
    "parallel-ssh's libssh", _RELEASE, "pssh_worker", _LIBSSH, checks_host_keys=False
)
_ASYNCSSH = Environment("asyncssh", "asyncssh")
ASYNCSSH = Peer("asyncssh", _ASYNCSSH, "asyncssh_worker")
PARAMIKO = Peer("paramiko", Environment("paramiko", "paramiko"), "paramiko_worker")
FABRIC = Peer("Fabric", Environment("fabric", "fabric"), "fabric_worker", checks_host_keys=False)

_OPENSSH = SystemEnvironment("OpenSSH", "ssh -V", has_checkout=True)
CLUSH = Peer(
    "clush",
    SystemEnvironment("ClusterShell", "clush --version", has_checkout=True),
    "openssh_worker",
    "clush",
)
PDSH = Peer(
    "pdsh", SystemEnvironment("pdsh", "pdsh -V", has_checkout=True), "openssh_worker", "pdsh"
)
SFTP = Peer("OpenSSH's sftp", _OPENSSH, "openssh_worker", "sftp")
SCP = Peer("OpenSSH's scp", _OPENSSH, "openssh_worker", "scp")

#: What the libraries need by themselves: the limit of our clients.
BARE_LIBSSH2 = Peer("bare libssh2", _OURS, "bare_worker", "benchmarks.bare_libssh2")
BARE_LIBSSH = Peer("bare libssh", _OURS, "bare_worker", "benchmarks.bare_libssh")

OURS = (NATIVE, LIBSSH)
BARE = (BARE_LIBSSH2, BARE_LIBSSH)
#: What the machine allows anybody. asyncssh's environment has what it takes to find out.
MACHINE = Peer("the machine", _ASYNCSSH, "limits_worker")
#: What a user would take instead of ours.
OTHERS = (PARALLEL_SSH, PARALLEL_SSH_LIBSSH, ASYNCSSH, PARAMIKO, FABRIC, CLUSH, PDSH, SFTP, SCP)
PEERS = (*OURS, *BARE, *OTHERS, MACHINE)
