"""The rules by which work is spread over hosts, and stopped. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

#: The hosts of a batch: their number, or a percentage of all hosts, such as ``"10%"``.
Batch = int | str

_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How many hosts to work on at a time, and when to stop.

    Hosts are tried in their order. What stops a run only keeps further hosts from being
    tried; those that are being worked on come to their end. The names are those of
    ClusterShell (``fanout``) and Ansible (``serial``, ``max_fail_percentage``). All of it may
    be used several times, and with several clients.

    :param fanout: at most so many hosts at a time. ``pool_size`` of the client holds as well.
    :param serial: work in batches: a number of hosts, a percentage of all of them (``"10%"``,
        at least one host), or a list of these, such as ``[1, 10, "25%"]``, of which the last is
        for all further batches. A batch begins when all hosts of the one before have ended.
    :param pause: seconds between two batches.
    :param connect_rate: at most so many new connections per second, one after the other, for
        servers and bastions that refuse more (``MaxStartups`` in sshd_config(5)). 0.5 is one
        each two seconds. Repeated attempts take their turn too; hosts that are connected do not
        count.
    :param max_failures: stop when more hosts than this have failed: 0 stops at the first. A
        command with another exit code than 0 has failed.
    :param max_fail_percentage: stop when more than this percentage of the hosts of a batch, or
        of all hosts where there are no batches, have failed.
    :param max_unreachable: stop when more hosts than this could not be connected to.
    :param max_unreachable_percentage: stop when more than this percentage of the hosts of a
        batch, or of all hosts, could not be connected to.
    :param host_timeout: seconds that work on a host may take in all. Passing it ends the work
        there with :class:`pssh.exceptions.Timeout`.
    :param timeout: seconds that the run may take. Passing it stops it, and ends the work on
        every host with :class:`pssh.exceptions.Timeout`.
    :raises ValueError: when a rule has a value that it cannot have.
    """

    fanout: int | None = None
    serial: Batch | Sequence[Batch] | None = None
    pause: float = 0
    connect_rate: float | None = None
    max_failures: int | None = None
    max_fail_percentage: float | None = None
    max_unreachable: int | None = None
    max_unreachable_percentage: float | None = None
    host_timeout: float | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            must_be, check = _CHECKS[field.name]
            if value is None and field.default is None:
                continue
            if not check(value):
                raise ValueError(f"{field.name} must be {must_be}, not {value!r}")
        if self.pause and self.serial is None:
            raise ValueError("pause is for the time between batches: it needs serial")

    def batch_sizes(self) -> Sequence[Batch]:
        """Return the batches as they were asked for; none for all hosts at once."""
        if self.serial is None:
            return ()
        return (self.serial,) if isinstance(self.serial, int | str) else tuple(self.serial)


def hosts_in(batch: Batch, hosts: int) -> int:
    """Return how many hosts a batch has, at least one.

    :param batch: a number, or a percentage.
    :param hosts: how many there are in all.
    """
    if isinstance(batch, int):
        return batch
    return max(1, math.floor(hosts * _percentage(batch) / 100))


def _percentage(text: str) -> float:
    found = _PERCENTAGE.fullmatch(text.strip())
    return float(found[1]) if found is not None else -1


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_batch(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < _percentage(value) <= 100
    return _count(value, 1)


def _is_serial(value: Any) -> bool:
    if isinstance(value, int | str):
        return _is_batch(value)
    return isinstance(value, Sequence) and bool(value) and all(map(_is_batch, value))


_Check = tuple[str, Callable[[Any], bool]]

_HOSTS: _Check = ("a number of hosts, 0 or more", lambda v: _count(v, 0))
_PER_CENT: _Check = ("a percentage from 0 to 100", lambda v: _number(v) and 0 <= v <= 100)
_SECONDS: _Check = ("a number of seconds, more than 0", lambda v: _number(v) and v > 0)

_CHECKS: dict[str, _Check] = {
    "fanout": ("a number of hosts, 1 or more", lambda v: _count(v, 1)),
    "serial": (
        'a number of hosts, a percentage of them such as "10%", or a list of these',
        _is_serial,
    ),
    "pause": ("a number of seconds", lambda v: _number(v) and v >= 0),
    "connect_rate": ("a number of connections per second", lambda v: _number(v) and v > 0),
    "max_failures": _HOSTS,
    "max_fail_percentage": _PER_CENT,
    "max_unreachable": _HOSTS,
    "max_unreachable_percentage": _PER_CENT,
    "host_timeout": _SECONDS,
    "timeout": _SECONDS,
}
