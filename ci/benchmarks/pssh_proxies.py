"""Hosts behind other hosts, with a client of this package."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import pssh_files
from benchmarks.gauge import Figures, Gauge, Settings
from benchmarks.pssh_clients import parallel_client, run_and_read


def through_and_direct(settings: Settings) -> Figures:
    """Connect to all hosts and run a command, through the bastion and then without it."""
    return _both(settings, {**settings, "bastion_port": 0})


def two_and_one(settings: Settings) -> Figures:
    """Connect to all hosts and run a command, through two bastions and then through one."""
    host = settings["host"]
    hops = f"{host}:{settings['bastion_port']},{host}:{settings['inner_bastion_port']}"
    return _both({**settings, "bastion_port": 0, "jump": hops}, settings)


def put_and_direct(settings: Settings) -> Figures:
    """Copy to the server, through the bastion and then without it."""
    return _copy_both(settings, pssh_files.put)


def get_and_direct(settings: Settings) -> Figures:
    """Copy from the server, through the bastion and then without it."""
    return _copy_both(settings, pssh_files.get)


def _copy_both(settings: Settings, copy: Callable[[Settings], Figures]) -> Figures:
    figures = copy(settings)
    return {**figures, "other": copy({**settings, "bastion_port": 0})["wall"]}


def _both(settings: Settings, others: Settings) -> Figures:
    # The first connection of a process costs what the others have not to pay again.
    run_and_read(parallel_client({**others, "bastion_port": 0}, 1), 1)
    figures = _connect_and_run(settings)
    return {**figures, "other": _connect_and_run(others)["wall"]}


def _connect_and_run(settings: Settings) -> Figures:
    gauge = Gauge()
    client = parallel_client(settings, settings["hosts"])
    run_and_read(client, settings["hosts"])
    figures = gauge.read()
    client.close()
    return figures
