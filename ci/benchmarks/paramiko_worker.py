"""One measured run of paramiko, with a thread for each host that is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import paramiko

from benchmarks.gauge import Figures, Gauge, Settings, expect, hosts_of, memory_kib, work


def connect(
    settings: Settings, host: str, bastion: paramiko.SSHClient | None = None
) -> paramiko.SSHClient:
    """A connection to a host."""
    through = None
    if bastion is not None:
        transport = bastion.get_transport()
        assert transport is not None
        target = (host, settings["port"])
        through = transport.open_channel("direct-tcpip", target, (settings["host"], 0))
    return _log_in(settings, host, settings["port"], through)


@contextmanager
def bastion_of(settings: Settings) -> Iterator[paramiko.SSHClient | None]:
    """A connection to the server before the others, if there is one."""
    if not settings["bastion_port"]:
        yield None
        return
    with _log_in(settings, settings["host"], settings["bastion_port"], None) as client:
        yield client


def _log_in(
    settings: Settings, host: str, port: int, through: paramiko.Channel | None
) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_host_keys(settings["known_hosts"])
    client.connect(
        host,
        port,
        settings["user"],
        key_filename=settings["key"],
        allow_agent=False,
        look_for_keys=False,
        sock=through,
        # A machine that is busy with a thousand handshakes takes its time.
        timeout=120,
        banner_timeout=120,
        auth_timeout=120,
    )
    return client


def run_and_read(client: paramiko.SSHClient) -> None:
    """Run a command, read its output and check its result."""
    _, stdout, _ = client.exec_command("echo hello")
    expect(stdout.read(), b"hello\n", "the output")
    expect(stdout.channel.recv_exit_status(), 0, "the exit status")


def connect_all(
    settings: Settings, bastion: paramiko.SSHClient | None = None
) -> list[paramiko.SSHClient]:
    """Connect to all hosts and run a command on each."""

    def connect_one(host: str) -> paramiko.SSHClient:
        client = connect(settings, host, bastion)
        run_and_read(client)
        return client

    with ThreadPoolExecutor(settings["pool_size"]) as pool:
        return list(pool.map(connect_one, hosts_of(settings)))


def connect_and_run(settings: Settings) -> Figures:
    """Connect to all hosts, authenticate, run one command."""
    before = memory_kib("VmRSS")
    gauge = Gauge()
    with bastion_of(settings) as bastion:
        clients = connect_all(settings, bastion)
        figures = {**gauge.read(), "before": before, "after": memory_kib("VmRSS")}
        close_all(clients)
    return figures


def further_commands(settings: Settings) -> Figures:
    """Run further commands on open connections."""
    clients = connect_all(settings)
    with ThreadPoolExecutor(settings["pool_size"]) as pool:
        gauge = Gauge()
        for _ in range(settings["commands"]):
            list(pool.map(run_and_read, clients))
        figures = gauge.read()
    close_all(clients)
    return figures


def read_lines(settings: Settings) -> Figures:
    """Read many lines from one host."""
    client = connect(settings, settings["host"])
    run_and_read(client)
    before = memory_kib("VmRSS")
    gauge = Gauge()
    _, stdout, _ = client.exec_command(settings["command"])
    lines = size = 0
    for line in stdout:
        lines += 1
        size += len(line) - 1  # without its ending
    expect(stdout.channel.recv_exit_status(), 0, "the exit status")
    figures = gauge.read()
    expect((lines, size), (settings["lines"], settings["characters"]), "lines and characters")
    figures = {**figures, "before": before, "after": memory_kib("VmRSS")}
    close_all([client])
    return figures


def put(settings: Settings) -> Figures:
    """Copy to the server over SFTP, one file after the other: there is nothing recursive."""

    def copy(sftp: paramiko.SFTPClient, local: Path, remote: str) -> None:
        if not local.is_dir():
            sftp.put(str(local), remote)
            return
        sftp.mkdir(remote)
        for path in local.iterdir():
            sftp.put(str(path), f"{remote}/{path.name}")

    return _copy(settings, copy)


def get(settings: Settings) -> Figures:
    """Copy from the server over SFTP."""

    def copy(sftp: paramiko.SFTPClient, local: Path, remote: str) -> None:
        if not settings["recurse"]:
            sftp.get(remote, str(local))
            return
        local.mkdir()
        for name in sftp.listdir(remote):
            sftp.get(f"{remote}/{name}", str(local / name))

    return _copy(settings, copy)


def _copy(settings: Settings, copy: Callable[[paramiko.SFTPClient, Path, str], None]) -> Figures:
    client = connect(settings, settings["host"])
    gauge = Gauge()
    with client.open_sftp() as sftp:
        copy(sftp, Path(settings["local"]), settings["remote"])
    figures = gauge.read()
    close_all([client])
    return figures


def close_all(clients: list[paramiko.SSHClient]) -> None:
    """Close connections."""
    for client in clients:
        client.close()


if __name__ == "__main__":
    work(
        {
            "connect_and_run": connect_and_run,
            "further_commands": further_commands,
            "read_lines": read_lines,
            "put": put,
            "get": get,
        }
    )
