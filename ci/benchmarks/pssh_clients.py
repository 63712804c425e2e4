"""The clients of this package or of parallel-ssh 2.x: they take the same arguments."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.gauge import Settings, expect, hosts_of

#: Exit codes that are not what the server said.
WRONG: list[object] = []


def client_module(settings: Settings) -> Any:
    """The module of the clients to measure: both libraries' have the same names."""
    return import_module(settings["client_module"])


def parallel_client(settings: Settings, hosts: int) -> Any:
    """A client for the server, repeated."""
    client_class = client_module(settings).ParallelSSHClient
    arguments = {**_arguments(settings), "pool_size": settings["pool_size"]}
    return client_class(hosts_of({**settings, "hosts": hosts}), **arguments)


def single_client(settings: Settings) -> Any:
    """A client for the server, connected."""
    return client_module(settings).SSHClient(settings["host"], **_arguments(settings))


def run_and_read(client: Any, hosts: int) -> None:
    """Run a command on all hosts, read its output and check its result."""
    output = client.run_command("echo hello")
    client.join(output)
    for host_output in output:
        expect(list(host_output.stdout), ["hello"], "the output")
        if host_output.exit_code != 0:
            WRONG.append(host_output.exit_code)
    expect(len(output), hosts, "the number of results")


def _arguments(settings: Settings) -> dict[str, Any]:
    arguments = {
        "user": settings["user"],
        "port": settings["port"],
        "pkey": settings["key"],
        "allow_agent": False,
        "identity_auth": False,
    }
    if settings["checks_host_keys"]:
        arguments["known_hosts"] = settings["known_hosts"]
        arguments["host_key_policy"] = "strict"
    if settings["bastion_port"]:
        arguments["proxy_host"] = settings["host"]
        arguments["proxy_port"] = settings["bastion_port"]
    if "jump" in settings:
        arguments["proxy_jump"] = settings["jump"]
    return arguments
