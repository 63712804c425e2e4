"""Which host comes next, and when it is enough: decisions alone, without a clock or a loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pssh.fleet.rollout import Batch, Rollout, hosts_in
from pssh.fleet.state import HostState


class Start(NamedTuple):
    """Begin work on a host."""

    host: int


class Wait(NamedTuple):
    """Begin nothing before work on some host has ended, or so many seconds have passed."""

    seconds: float | None


class Over(NamedTuple):
    """Nothing runs, and nothing will be begun."""


class Overdue(NamedTuple):
    """Work on a host has taken longer than it may.

    ``host`` is its number, ``limit`` the seconds that it was given, and ``whole_run`` says
    whether they were for the run rather than the host.
    """

    host: int
    limit: float
    whole_run: bool


Decision = Start | Wait | Over


class Schedule:
    """Decides what is begun next on hosts that are numbered from 0, and when to stop.

    It has no clock: whoever asks says what time it is, in seconds from any point.

    :param hosts: how many hosts there are.
    :param rules: the rules.
    :param now: the time at which the run begins.
    :param at_most: how many hosts the client works on at a time.
    :param connects: whether work on a host begins with a new connection.
    """

    def __init__(
        self,
        hosts: int,
        rules: Rollout,
        now: float,
        at_most: int,
        connects: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._hosts = hosts
        self._rules = rules
        self._at_most = min(at_most, rules.fanout or at_most)
        self._connects = connects
        self._next = 0
        #: Hosts that are being worked on.
        self.running: set[int] = set()
        #: Why no further host is tried; ``None`` while none has been left out.
        self.stopped: str | None = None
        self._failed = _Count("failed", rules.max_failures, rules.max_fail_percentage)
        self._unreachable = _Count(
            "unreachable", rules.max_unreachable, rules.max_unreachable_percentage
        )
        self._sizes: deque[Batch] = deque(rules.batch_sizes())
        self._batch_begin = 0
        self._batch_end = self._size_of_batch()
        self._not_before = now
        self._may_connect = now
        self._end = now + rules.timeout if rules.timeout else None
        #: When hosts that were begun have to have ended, in the order in which they were begun.
        self._due: deque[tuple[float, int]] = deque()

    # What happens

    def next(self, now: float) -> Decision:
        """Decide what comes next. A host whose start is decided counts as running.

        :param now: the time.
        """
        if self._end is not None and now >= self._end and self._next < self._hosts:
            self.stop(f"the run had taken its timeout of {self._rules.timeout:g} seconds")
        if self.stopped is not None or self._next >= self._hosts:
            return self._wait(now, None) if self.running else Over()
        seconds = self._seconds_to_next(now)
        if seconds is None or seconds > 0:
            return self._wait(now, seconds)
        return self._start(now)

    def _start(self, now: float) -> Start:
        index = self._next
        self._next += 1
        self.running.add(index)
        if self._connects(index):
            self.connect_again(now)
        if self._rules.host_timeout is not None:
            self._due.append((now + self._rules.host_timeout, index))
        return Start(index)

    def connect_again(self, now: float) -> float:
        """Decide when a further connection may be made, and take that turn.

        :param now: the time.
        :returns: seconds from now.
        """
        turn = max(now, self._may_connect)
        if self._rules.connect_rate is not None:
            self._may_connect = turn + 1 / self._rules.connect_rate
        return turn - now

    def ended(self, index: int, state: HostState, now: float) -> None:
        """Work on a host has ended.

        :param index: the host.
        :param state: how it ended.
        :param now: the time.
        """
        self.running.discard(index)
        for count in (self._failed, self._unreachable):
            if count.what == state.value:
                count.add()
                reason = count.too_many(self._batch_end - self._batch_begin)
                if reason is not None and self._next < self._hosts:
                    self.stop(reason)
        if not self.running and self._next == self._batch_end:
            self._begin_batch(now)

    def stop(self, reason: str) -> None:
        """Begin nothing more.

        :param reason: why, for those hosts that are not tried. The first one counts.
        """
        if self.stopped is None:
            self.stopped = reason

    def leave_out(self) -> range:
        """Return the hosts that were not begun, which they will not be any more."""
        rest = range(self._next, self._hosts)
        self._next = self._hosts
        return rest

    def overdue(self, now: float) -> list[Overdue]:
        """Return the hosts whose work has to be ended, each of them once for each limit.

        :param now: the time.
        """
        found = []
        while self._due and (self._due[0][0] <= now or self._due[0][1] not in self.running):
            _, index = self._due.popleft()
            if index in self.running:
                found.append(Overdue(index, self._rules.host_timeout or 0, False))
        if self._end is not None and now >= self._end:
            self._end = None
            limit = self._rules.timeout or 0
            if self._next < self._hosts:
                self.stop(f"the run had taken its timeout of {limit:g} seconds")
            found += [Overdue(index, limit, True) for index in sorted(self.running)]
        return found

    # How long to wait

    def _seconds_to_next(self, now: float) -> float | None:
        """Return the seconds until the next host may begin; ``None``: when others have ended."""
        if self._next == self._batch_end or len(self.running) >= self._at_most:
            return None
        not_before = self._not_before
        if self._rules.connect_rate is not None and self._connects(self._next):
            not_before = max(not_before, self._may_connect)
        return not_before - now

    def _wait(self, now: float, seconds: float | None) -> Wait:
        """Wait for that, but not longer than until somebody is overdue."""
        limits = [] if seconds is None else [seconds]
        if self._end is not None:
            limits.append(self._end - now)
        if self._due:
            limits.append(self._due[0][0] - now)
        return Wait(max(0.0, min(limits)) if limits else None)

    # Batches

    def _size_of_batch(self) -> int:
        if not self._sizes:
            return self._hosts
        size = self._sizes[0]
        if len(self._sizes) > 1:
            self._sizes.popleft()
        return min(self._hosts, self._next + hosts_in(size, self._hosts))

    def _begin_batch(self, now: float) -> None:
        self._batch_begin = self._next
        self._batch_end = self._size_of_batch()
        self._not_before = now + self._rules.pause
        self._failed.in_batch = self._unreachable.in_batch = 0


class _Count:
    """Counts the hosts for which it ended badly in one way.

    :param what: in which.
    :param most: so many are tolerated in all.
    :param percentage: such a percentage is tolerated of each batch.
    """

    __slots__ = ("_most", "_percentage", "in_all", "in_batch", "what")

    def __init__(self, what: str, most: int | None, percentage: float | None) -> None:
        self.what = what
        self._most = most
        self._percentage = percentage
        self.in_all = 0
        self.in_batch = 0

    def add(self) -> None:
        self.in_all += 1
        self.in_batch += 1

    def too_many(self, batch: int) -> str | None:
        """Return why these are too many, ``None`` while they are not."""
        rule = "max_failures" if self.what == "failed" else "max_unreachable"
        if self._most is not None and self.in_all > self._most:
            return f"{_hosts(self.in_all)} {self.what}, and {rule} is {self._most}"
        percentage = self._percentage
        if percentage is not None and self.in_batch * 100 > percentage * batch:
            rule = f"max_{'fail' if self.what == 'failed' else self.what}_percentage"
            return f"{self.in_batch} of {_hosts(batch)} {self.what}, and {rule} is {percentage:g}"
        return None


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"
