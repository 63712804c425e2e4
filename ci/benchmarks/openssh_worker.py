"""One measured run of OpenSSH's ``sftp``, from the start of its process to the end."""

from __future__ import annotations

import resource
import subprocess
import time

from benchmarks.gauge import Figures, Settings, work


def put(settings: Settings) -> Figures:
    """Copy to the server."""
    return _run(settings, f"put {settings['local']} {settings['remote']}")


def get(settings: Settings) -> Figures:
    """Copy from the server."""
    return _run(settings, f"get {settings['remote']} {settings['local']}")


def _run(settings: Settings, command: str) -> Figures:
    """Run a command of ``sftp``, which would ask nobody and read no configuration of its user."""
    options = {
        "UserKnownHostsFile": settings["known_hosts"],
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
    }
    arguments = ["-F", "none", *(f"-o{name}={value}" for name, value in options.items())]
    arguments += ["-i", settings["key"], "-P", str(settings["port"])]
    host = f"{settings['user']}@{settings['host']}"
    started = time.perf_counter()
    subprocess.run(
        ["sftp", "-b", "-", *arguments, host],
        input=f"{command}\n",
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


if __name__ == "__main__":
    work({"put": put, "get": get})
