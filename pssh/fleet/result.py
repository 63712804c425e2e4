"""What has become of each host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pssh.exceptions import NotTriedError
from pssh.fleet.state import FINAL_STATES, HostState

if TYPE_CHECKING:
    from pssh.output import HostOutput

#: So many hosts are named for each reason in the text of a result.
_NAMED_MAX = 10


class HostResult:
    """How far work on a host has come, and how it ended.

    :ivar index: the host's position among the client's hosts.
    :ivar host: its name or address.
    :ivar alias: its alias, where it has one.
    :ivar state: how far the work has come.
    :ivar exception: why it did not end well; ``None`` too where a command's exit code says it.
    :ivar output: of a command that was started.
    """

    __slots__ = ("alias", "exception", "host", "index", "output", "state")

    def __init__(self, index: int, host: str, alias: str | None = None) -> None:
        self.index = index
        self.host = host
        self.alias = alias
        self.state = HostState.WAITING
        self.exception: BaseException | None = None
        self.output: HostOutput | None = None

    @property
    def name(self) -> str:
        """What the host is called for people."""
        return self.alias or self.host

    @property
    def exit_code(self) -> int | None:
        """The exit code of its command; ``None`` where there is none."""
        return self.output.exit_code if self.output is not None else None

    @property
    def reason(self) -> str:
        """Why it did not end well, without the host's name: equal reasons have equal words."""
        if isinstance(self.exception, NotTriedError):
            return self.exception.reason or ""
        if self.exception is not None:
            return self._without_name(str(self.exception)) or type(self.exception).__name__
        if self.output is not None and self.output.exit_signal is not None:
            return f"killed by signal {self.output.exit_signal}"
        return f"exit code {self.exit_code}" if self.exit_code else ""

    def _without_name(self, text: str) -> str:
        port = getattr(self.exception, "port", None)
        for name in (f"'{self.host}:{port}'", f"{self.host}:{port}"):
            text = text.replace(name, "…")
        return text.replace(f"ost {self.host}", "ost …")

    def __repr__(self) -> str:
        because = f": {self.reason}" if self.reason else ""
        return f"<{self.name} {self.state.value}{because}>"


class FleetResult(Sequence[HostResult]):
    """What has become of each host, in the order of the hosts.

    When all work has ended every host is in exactly one of :attr:`ok`, :attr:`failed`,
    :attr:`unreachable` and :attr:`not_tried`. ``str()`` is a summary for people.

    :ivar stopped: why hosts were not tried; ``None`` where all were.
    """

    def __init__(self, hosts: Iterable[HostResult], stopped: str | None = None) -> None:
        self._hosts = list(hosts)
        self.stopped = stopped

    def __len__(self) -> int:
        return len(self._hosts)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._hosts[index]

    def in_state(self, *states: HostState) -> list[HostResult]:
        """Return the hosts in some states, in the order of the hosts.

        :param states: the states.
        """
        return [host for host in self._hosts if host.state in states]

    @property
    def ok(self) -> list[HostResult]:
        """Hosts on which it was done; of a command: with exit code 0."""
        return self.in_state(HostState.OK)

    @property
    def failed(self) -> list[HostResult]:
        """Hosts that were reached, and on which it went wrong or came to no end."""
        return self.in_state(HostState.FAILED)

    @property
    def unreachable(self) -> list[HostResult]:
        """Hosts that could not be connected to, or did not let the user in."""
        return self.in_state(HostState.UNREACHABLE)

    @property
    def not_tried(self) -> list[HostResult]:
        """Hosts that had no turn."""
        return self.in_state(HostState.NOT_TRIED)

    @property
    def pending(self) -> list[HostResult]:
        """Hosts for which it has not ended yet."""
        return [host for host in self._hosts if not host.state.final]

    def __str__(self) -> str:
        return "\n".join([self.counts(), *self._stopped_line(), *self._reasons()])

    def counts(self) -> str:
        """Return how many hosts are in each group, in words."""
        numbers = dict.fromkeys(HostState, 0)
        for host in self._hosts:
            numbers[host.state] += 1
        parts = [f"{numbers[state]} {state.value}" for state in FINAL_STATES]
        pending = sum(number for state, number in numbers.items() if not state.final)
        if pending:
            parts.append(f"{pending} not finished")
        return f"{len(self._hosts)} hosts: {', '.join(parts)}"

    def _stopped_line(self) -> list[str]:
        return [] if self.stopped is None else [f"stopped: {self.stopped}"]

    def _reasons(self) -> list[str]:
        """Return a line for each reason, with the hosts that have it in common."""
        names: dict[tuple[str, str], list[str]] = {}
        for state in (HostState.FAILED, HostState.UNREACHABLE):
            for host in self.in_state(state):
                names.setdefault((state.value, host.reason), []).append(host.name)
        return [f"{state}: {reason}: {_list(hosts)}" for (state, reason), hosts in names.items()]

    def __repr__(self) -> str:
        return f"<FleetResult {self.counts()}>"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_MAX])
    more = len(names) - _NAMED_MAX
    return f"{shown} and {more} more" if more > 0 else shown
