"""parallel-ssh at work: a command on eight hosts, all of them a throwaway `sshd` on loopback.

Everything lives in a temporary folder with its own keys, and is gone when this ends. Run it through
`ci/demo`, which installs what is needed first.
"""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path
from types import TracebackType
from typing import TextIO, cast

LISTENING = [f"127.0.0.{number}" for number in range(1, 8)]

SCRIPT = """\
from pssh.clients import ParallelSSHClient

hosts = [f"127.0.0.{{number}}" for number in range(1, 9)]
folders = ["/etc", "/usr", "/var", "/no/such/folder", "/opt", "/tmp", "/home", "/etc"]
# These lead to the throwaway server. Yours is probably reached without them.
settings = {settings}

client = ParallelSSHClient(hosts, num_retries=1, **settings)
arguments = [(folder,) for folder in folders]
output = client.run_command("uname -sr; ls -d %s", host_args=arguments, stop_on_errors=False)
client.join()
for host_out in output:
    print(f"{{host_out.host}}: exit code {{host_out.exit_code}}")
    if host_out.exception is not None:
        print("    error:", host_out.exception)
        continue
    for line in [*host_out.stdout, *host_out.stderr]:
        print("   ", line)
"""


class ThrowawayServer:
    """An OpenSSH server for the current user on the addresses in `LISTENING`.

    :ivar port: The port it listens on.
    :ivar key: Path of the private key that it lets in.
    :ivar known_hosts: Path of a known_hosts file to use with it, empty at first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "user_key"
        self.known_hosts = folder / "known_hosts"
        self.port = 0
        self._log: list[str] = []
        self._listening = threading.Event()

    def __enter__(self) -> "ThrowawayServer":
        for name in ("host_key", self.key.name):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        for _ in range(5):  # somebody else may take the free port before sshd does
            self.port = free_port()
            if self._start():
                return self
            self._stop()
        raise RuntimeError("sshd did not start; it said:\n" + "".join(self._log))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> bool:
        config = self.folder / "sshd_config"
        config.write_text(self._config())
        # sshd starts itself again for each connection and therefore wants its absolute path.
        program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program is None:
            raise RuntimeError("There is no sshd on this machine; ci/demo would have installed it.")
        self._listening.clear()
        self._process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(
            target=self._read_log, args=(cast(TextIO, self._process.stderr),), daemon=True
        )
        self._reader.start()
        self._listening.wait(timeout=30)
        return self._process.poll() is None and self._bound() == len(LISTENING)

    def _config(self) -> str:
        lines = [
            *(f"ListenAddress {address}:{self.port}" for address in LISTENING),
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "PidFile none",
            # sshd refuses authorized_keys below a folder that everybody may write to, as /tmp is.
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            # Without PAM, sshd lets nobody in whose password is locked.
            f"UsePAM {'yes' if os.getuid() == 0 and password_is_locked('root') else 'no'}",
            "PrintMotd no",
            "PrintLastLog no",
        ]
        return "\n".join(lines) + "\n"

    def _bound(self) -> int:
        return sum(line.startswith("Server listening on ") for line in self._log)

    def _read_log(self, log: TextIO) -> None:
        self._log.clear()
        for line in log:
            self._log.append(line)
            if self._bound() == len(LISTENING) or "Bind to port" in line:
                self._listening.set()
        self._listening.set()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        # Its children hold the same pipe: the log ends when the last of them is gone.
        self._reader.join(timeout=30)
        if self._reader.is_alive():
            raise RuntimeError("A connection of the throwaway sshd is still open after 30 seconds.")
        cast(TextIO, self._process.stderr).close()


def free_port() -> int:
    """A port that nothing listens on right now, on any of the eight addresses."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def password_is_locked(user: str) -> bool:
    """Whether `user`'s password starts with `!`, which sshd takes for a locked account."""
    entries = Path("/etc/shadow").read_text().splitlines()
    return any(entry.startswith(f"{user}:!") for entry in entries)


def script_for(server: ThrowawayServer) -> str:
    """The script, with what it takes to reach the server."""
    settings = {
        "user": getpass.getuser(),
        "port": server.port,
        "pkey": str(server.key),
        "known_hosts": str(server.known_hosts),
    }
    lines = [f"    {json.dumps(name)}: {json.dumps(value)}," for name, value in settings.items()]
    return SCRIPT.format(settings="\n".join(["{", *lines, "}"]))


def main() -> None:
    """Run the script against the server, show it, and leave nothing behind."""
    # So that the server is stopped as well when somebody ends this with `kill`.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with (
        tempfile.TemporaryDirectory(prefix="pssh-demo-") as folder,
        ThrowawayServer(Path(folder)) as server,
    ):
        script = script_for(server)
        path = Path(folder) / "example.py"
        path.write_text(script)
        print(
            f"A command on eight hosts, all of them this machine (port {server.port}):\n",
            flush=True,
        )
        subprocess.run([sys.executable, str(path)], check=True)
        print("\nThe script that printed this:\n")
        print(textwrap.indent(script, "    "), end="")


if __name__ == "__main__":
    main()
