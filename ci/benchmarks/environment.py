"""Where a measured client lives: a virtual environment in .bench."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CI = Path(__file__).resolve().parents[1]
CHECKOUT = CI.parent
ENVIRONMENTS = CHECKOUT / ".bench"


@dataclass(frozen=True)
class Environment:
    """A virtual environment; several clients may share one.

    :ivar name: its folder.
    :ivar requirements: what pip installs into it.
    :ivar has_checkout: whether this checkout is what it imports.
    """

    name: str
    requirements: str
    has_checkout: bool = False

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return ENVIRONMENTS / self.name / "bin" / "python"

    def set_up(self) -> None:
        """Make it, unless the one that is there is what is wanted."""
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
        """The libraries in it, for the record."""
        listing = subprocess.run(
            [str(self.python), "-m", "pip", "freeze", "--disable-pip-version-check"],
            check=True,
            capture_output=True,
            text=True,
        )
        return ", ".join(listing.stdout.split())

    def variables(self, home: Path) -> dict[str, str]:
        """The environment variables of a worker.

        :param home: an empty home folder for it.
        """
        path = [str(CHECKOUT), str(CI)] if self.has_checkout else [str(CI)]
        return {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": ":".join(path)}


class SystemEnvironment(Environment):
    """What the system has: nothing is installed. The worker is run by this Python."""

    @property
    def python(self) -> Path:
        """This interpreter."""
        return Path(sys.executable)

    def set_up(self) -> None:
        """Leave everything as it is; ``ci/setup bench`` has installed what is missing."""

    def versions(self) -> str:
        """The version of a program, for the record."""
        said = subprocess.run(self.requirements.split(), capture_output=True, text=True)
        return (said.stdout + said.stderr).strip().partition("\n")[0]
