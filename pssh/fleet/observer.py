"""Who is told what happens on the hosts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pssh.fleet.result import FleetResult, HostResult


class Observer:
    """Is told what happens on each host, as it happens. Each method does nothing by default.

    The methods are called in the event loop's turn and must not wait for anything. An error
    that one raises is logged, and the work goes on: an observer watches.
    """

    def run_began(self, result: FleetResult) -> None:
        """Work begins on some hosts.

        :param result: grows while the work goes on; all hosts are waiting.
        """

    def host_changed(self, host: HostResult) -> None:
        """A host has got further.

        :param host: its ``state`` is the new one.
        """

    def bytes_copied(self, host: HostResult, count: int) -> None:
        """Bytes of a file have been copied to or from a host.

        :param host: the host.
        :param count: how many since the last call.
        """

    def run_ended(self, result: FleetResult) -> None:
        """Work has ended on all hosts.

        :param result: what has become of each.
        """
