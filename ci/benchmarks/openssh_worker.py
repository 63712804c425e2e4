"""One measured run of OpenSSH's programs, from the start of the first process to the end.

``sftp`` and ``scp`` copy files by themselves; ``ssh`` is driven by ClusterShell's ``clush`` or by
``pdsh``, which start one for each host. Their hosts have made-up names, which a configuration of
``ssh`` leads to the server. What this script itself needs is not counted.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.children import Children
from benchmarks.gauge import Figures, Settings, expect, work

PIECE = 1024 * 1024


class Fleet:
    """The made-up hosts and the program that works on them.

    :param folder: for the configuration and for sockets.
    :param share: keep one connection to each host open for all commands.
    """

    def __init__(self, settings: Settings, folder: Path, *, share: bool = False) -> None:
        self._program = settings["client_module"]
        self._hosts = settings.get("hosts", 1)
        self._pool_size = settings["pool_size"]
        self.configuration = folder / "ssh_config"
        self.configuration.write_text(configuration(settings, folder if share else None))

    def command(self, command: str) -> list[str]:
        """What runs a command on all hosts."""
        hosts = f"h[1-{self._hosts}]" if self._hosts > 1 else "h1"
        if self._program == "clush":
            options = ["-o", f"-F {self.configuration}", "-f", str(self._pool_size)]
            return ["clush", *options, "-w", hosts, command]
        return ["pdsh", "-R", "ssh", "-f", str(self._pool_size), "-w", hosts, command]

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of that."""
        return {**os.environ, "PDSH_SSH_ARGS_APPEND": f"-F {self.configuration}"}

    def run_and_read(self) -> None:
        """Run a command on all hosts, and check its results."""
        done = subprocess.run(
            self.command("echo hello"),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        expect(done.returncode, 0, "the exit status")
        wanted = sorted(f"h{number}: hello" for number in range(1, self._hosts + 1))
        expect(sorted(done.stdout.splitlines()), wanted, "the output")


def configuration(settings: Settings, sockets: Path | None = None) -> str:
    """The configuration of ``ssh`` for the made-up hosts, and for the server itself.

    :param sockets: a folder for the sockets of shared connections.
    """
    lines = ["Host h*", f"HostName {settings['host']}", f"Port {settings['port']}"]
    if sockets is not None:
        lines += ["ControlMaster auto", "ControlPersist yes", f"ControlPath {sockets}/%n"]
    if port := settings["bastion_port"]:
        lines += ["ProxyJump bastion"]
        lines += ["Host bastion", f"HostName {settings['host']}", f"Port {port}"]
    lines += [
        "Host *",
        f"User {settings['user']}",
        f"IdentityFile {settings['key']}",
        "IdentitiesOnly yes",
        "IdentityAgent none",
        f"UserKnownHostsFile {settings['known_hosts']}",
        "StrictHostKeyChecking yes",
        "BatchMode yes",
        "LogLevel ERROR",
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="pssh-", dir="/tmp") as path:
        yield Path(path)


def connect_and_run(settings: Settings) -> Figures:
    """Connect to all hosts, authenticate, run one command."""
    with folder() as place, Children() as children:
        fleet = Fleet(settings, place)
        children.begin()
        fleet.run_and_read()
        return children.read()


def further_commands(settings: Settings) -> Figures:
    """Run further commands over connections that ``ssh`` shares."""
    with folder() as place, Children() as children:
        fleet = Fleet(settings, place, share=True)
        fleet.run_and_read()
        children.begin()
        for _ in range(settings["commands"]):
            fleet.run_and_read()
        return children.read()


def read_lines(settings: Settings) -> Figures:
    """Read many lines from one host."""
    with folder() as place, Children() as children:
        fleet = Fleet(settings, place)
        children.begin()
        process = subprocess.Popen(
            fleet.command(settings["command"]),
            env=fleet.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        lines = size = 0
        while piece := process.stdout.read(PIECE):
            lines += piece.count(b"\n")
            size += len(piece)
        expect(process.wait(), 0, "the exit status")
        figures = children.read()
    label = len("h1: ") + len("\n")
    found = (lines, size - lines * label)
    expect(found, (settings["lines"], settings["characters"]), "lines and characters")
    return figures


def put(settings: Settings) -> Figures:
    """Copy to the server."""
    ends = (settings["local"], settings["remote"])
    if settings["client_module"] == "scp":
        return _scp(settings, ends[0], f"h1:{ends[1]}")
    return _sftp(settings, "put", ends, make=f"mkdir {ends[1]}")


def get(settings: Settings) -> Figures:
    """Copy from the server."""
    ends = (settings["remote"], settings["local"])
    if settings["client_module"] == "scp":
        return _scp(settings, f"h1:{ends[0]}", ends[1])
    return _sftp(settings, "get", ends, make=f"lmkdir {ends[1]}")


def scp_send(settings: Settings) -> Figures:
    """Copy to the server with the protocol that ``scp`` used to speak."""
    return _scp(settings, settings["local"], f"h1:{settings['remote']}", "-O")


def scp_recv(settings: Settings) -> Figures:
    """Copy from the server with that protocol."""
    return _scp(settings, f"h1:{settings['remote']}", settings["local"], "-O")


def _sftp(settings: Settings, verb: str, ends: tuple[str, str], make: str) -> Figures:
    """Run a command of ``sftp``, which would ask nobody and read no configuration of its user.

    :param make: makes the target, which ``sftp`` does not call after a directory otherwise.
    """
    if settings["recurse"]:
        dialogue = f"{make}\n{verb} -r {ends[0]}/* {ends[1]}/\n"
    else:
        dialogue = f"{verb} {ends[0]} {ends[1]}\n"
    return _measured(settings, ["sftp", "-q", "-b", "-"], ["h1"], dialogue)


def _scp(settings: Settings, source: str, target: str, *options: str) -> Figures:
    recurse = ["-r"] if settings["recurse"] else []
    return _measured(settings, ["scp", "-q", *options, *recurse], [source, target])


def _measured(
    settings: Settings, program: list[str], arguments: list[str], dialogue: str = ""
) -> Figures:
    with folder() as place, Children() as children:
        fleet = Fleet(settings, place)
        command = [*program, "-F", str(fleet.configuration), *arguments]
        children.begin()
        done = subprocess.run(command, input=dialogue, stdout=subprocess.DEVNULL, text=True)
        figures = children.read()
    expect(done.returncode, 0, f"the exit status of {shlex.join(command)}")
    return figures


if __name__ == "__main__":
    work(
        {
            "connect_and_run": connect_and_run,
            "further_commands": further_commands,
            "read_lines": read_lines,
            "put": put,
            "get": get,
            "scp_send": scp_send,
            "scp_recv": scp_recv,
        }
    )
