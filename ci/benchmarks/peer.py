"""The clients that are compared, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gauge import Figures, Settings

CI = Path(__file__).resolve().parents[1]
CHECKOUT = CI.parent
ENVIRONMENTS = CHECKOUT / ".bench"

#: Seconds; the longest run takes less than two minutes on two cores.
RUN_TIMEOUT = 900


class RunError(RuntimeError):
    """A peer did not do what was to be measured."""


@dataclass(frozen=True)
class Peer:
    """A client library.

    :ivar name: for the table and the environment's folder.
    :ivar worker: the module that measures it.
    :ivar requirements: what pip installs for it.
    :ivar checks_host_keys: whether it is given a known_hosts file; 2.x cannot check host keys.
    :ivar from_checkout: whether its code is this checkout.
    """

    name: str
    worker: str
    requirements: str
    checks_host_keys: bool = True
    from_checkout: bool = False

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ENVIRONMENTS / self.name / "bin" / "python"

    def set_up(self) -> None:
        """Make its environment, unless the one that is there is what is wanted."""
        folder = ENVIRONMENTS / self.name
        stamp = folder / "made-for"
        wanted = f"{sys.version}\n{self.requirements}"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        print(f"making the environment of {self.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [*(str(self.python), "-m", "pip", "install"), *self.requirements.split()]
        quietly = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *quietly], check=True)
        stamp.write_text(wanted)

    def versions(self) -> str:
        """The libraries in its environment, for the record."""
        listing = subprocess.run(
            [str(self.python), "-m", "pip", "freeze", "--disable-pip-version-check"],
            check=True,
            capture_output=True,
            text=True,
        )
        return ", ".join(listing.stdout.split())

    def run(self, settings: Settings, home: Path) -> Figures:
        """Do one measured run in a fresh process.

        :param home: an empty home folder for it.
        :raises RunError: when it fails; its error output is in the message.
        """
        own = {**settings, "checks_host_keys": self.checks_host_keys}
        path = [str(CHECKOUT), str(CI)] if self.from_checkout else [str(CI)]
        environment = {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": ":".join(path)}
        done = subprocess.run(
            [str(self.python), "-m", f"benchmarks.{self.worker}", json.dumps(own)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=home,
            timeout=RUN_TIMEOUT,
        )
        if done.returncode:
            raise RunError(f"{self.name} failed at {settings}:\n{done.stderr.strip()}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures


OURS = Peer("ours", "pssh_worker", (CHECKOUT / "requirements.txt").read_text(), from_checkout=True)
PARALLEL_SSH = Peer("parallel-ssh", "pssh_worker", "parallel-ssh==2.16.*", checks_host_keys=False)
ASYNCSSH = Peer("asyncssh", "asyncssh_worker", "asyncssh")
PEERS = (OURS, PARALLEL_SSH, ASYNCSSH)
