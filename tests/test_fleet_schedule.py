"""Which host has its turn, and when it is enough: the rules of fleets, without a network."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.fleet import HostState, Rollout
from pssh.fleet.rollout import hosts_in
from pssh.fleet.schedule import Over, Schedule, Start, Wait

OK, FAILED, UNREACHABLE = HostState.OK, HostState.FAILED, HostState.UNREACHABLE


@dataclass
class Simulation:
    """A run on hosts that each take some time and end in some way; a clock that is a number.

    :param takes: for each host the seconds that it takes, and how it ends.
    """

    rules: Rollout
    takes: Sequence[tuple[float, HostState]]
    pool_size: int = 100
    connected: frozenset[int] = frozenset()
    began: list[tuple[float, int]] = field(default_factory=list)
    ended: list[tuple[float, int]] = field(default_factory=list)
    ends: dict[int, HostState] = field(default_factory=dict)
    most: int = 0

    def run(self) -> Simulation:
        now = 0.0
        self.schedule = Schedule(
            len(self.takes), self.rules, now, self.pool_size, lambda i: i not in self.connected
        )
        coming: list[tuple[float, int]] = []
        while True:
            for overdue in self.schedule.overdue(now):
                assert overdue.host in self.schedule.running
                coming = [item for item in coming if item[1] != overdue.host]
                self._end(now, overdue.host, FAILED)
            decision = self.schedule.next(now)
            if isinstance(decision, Start):
                seconds, _ = self.takes[decision.host]
                heapq.heappush(coming, (now + seconds, decision.host))
                self.began.append((now, decision.host))
                self.most = max(self.most, len(self.schedule.running))
            elif isinstance(decision, Over):
                assert not coming
                self.left_out = list(self.schedule.leave_out())
                return self
            else:
                assert isinstance(decision, Wait)
                # Somebody has to end, or some time to pass: otherwise it would wait for ever.
                assert coming or decision.seconds is not None
                limit = float("inf") if decision.seconds is None else now + decision.seconds
                if coming and coming[0][0] <= limit:
                    now, host = heapq.heappop(coming)
                    self._end(now, host, self.takes[host][1])
                else:
                    now = max(limit, now + 1e-9)

    def _end(self, now: float, host: int, state: HostState) -> None:
        self.ended.append((now, host))
        self.ends[host] = state
        self.schedule.ended(host, state, now)


def simulate(rules: Rollout, takes: Sequence[tuple[float, HostState]], **more: Any) -> Simulation:
    return Simulation(rules, takes, **more).run()


def times(simulation: Simulation) -> list[float]:
    return [round(time, 6) for time, _ in simulation.began]


BATCHES = st.one_of(st.integers(1, 12), st.integers(1, 100).map(lambda p: f"{p}%"))
RULES = st.builds(
    lambda pause, **rules: Rollout(pause=pause if rules["serial"] is not None else 0, **rules),
    fanout=st.none() | st.integers(1, 8),
    serial=st.none() | BATCHES | st.lists(BATCHES, min_size=1, max_size=4),
    pause=st.sampled_from([0, 2.5]),
    connect_rate=st.none() | st.sampled_from([0.5, 4.0, 1000.0]),
    max_failures=st.none() | st.integers(0, 5),
    max_fail_percentage=st.none() | st.integers(0, 100),
    max_unreachable=st.none() | st.integers(0, 5),
    max_unreachable_percentage=st.none() | st.integers(0, 100),
    host_timeout=st.none() | st.sampled_from([0.7, 3.0]),
    timeout=st.none() | st.sampled_from([1.0, 20.0]),
)
TAKES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 1.0, 2.0, 100.0]), st.sampled_from([OK, FAILED, UNREACHABLE])
    ),
    max_size=40,
)


@given(RULES, TAKES, st.integers(1, 10), st.frozensets(st.integers(0, 40)))
def test_whatever_the_rules(
    rules: Rollout,
    takes: list[tuple[float, HostState]],
    pool_size: int,
    connected: frozenset[int],
) -> None:
    run = simulate(rules, takes, pool_size=pool_size, connected=connected)
    # Every host in its turn, once, and what is not begun is left out.
    assert [host for _, host in run.began] + run.left_out == list(range(len(takes)))
    assert sorted(run.ends) == [host for _, host in run.began]
    assert run.most <= min(pool_size, rules.fanout or pool_size)
    if run.left_out:
        assert run.schedule.stopped is not None
    limits = (rules.max_failures, rules.max_fail_percentage, rules.max_unreachable)
    if (*limits, rules.max_unreachable_percentage, rules.timeout) == (None,) * 5:
        assert run.left_out == []
    ended = {host: time for time, host in run.ended}
    if rules.host_timeout is not None:
        assert all(ended[host] - time <= rules.host_timeout + 1e-6 for time, host in run.began)
    if rules.timeout is not None:
        assert all(time <= rules.timeout + 1e-6 for time in ended.values())
    if rules.connect_rate is not None:
        new = [time for time, host in run.began if host not in connected]
        gaps = [after - before for before, after in itertools.pairwise(new)]
        assert all(gap >= 1 / rules.connect_rate - 1e-6 for gap in gaps)
    check_batches(rules, run, ended)
    check_stop(rules, run)


def check_batches(rules: Rollout, run: Simulation, ended: dict[int, float]) -> None:
    """None is begun before the batch before it has ended, and the pause has passed."""
    began = {host: time for time, host in run.began}
    sizes = list(rules.batch_sizes()) or [max(1, len(run.takes))]
    first = 0
    while first < len(run.began):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        if first:
            over = max(ended[host] for host in range(first))
            assert began[first] >= over + rules.pause - 1e-6
        first += hosts_in(size, len(run.takes))


def check_stop(rules: Rollout, run: Simulation) -> None:
    """Nothing is begun once more have failed than may, and nothing is left out before."""
    for most, state in ((rules.max_failures, FAILED), (rules.max_unreachable, UNREACHABLE)):
        bad = sorted(time for time, host in run.ended if run.ends[host] is state)
        if most is not None and len(bad) > most:
            assert all(time <= bad[most] for time, _ in run.began)
    if run.left_out and rules.timeout is None:
        wrong = [state for state in run.ends.values() if state is not OK]
        assert wrong


def test_all_at_once_without_rules() -> None:
    run = simulate(Rollout(), [(5, FAILED)] * 7, pool_size=7)
    assert times(run) == [0] * 7
    assert run.schedule.stopped is None


def test_fanout_and_pool_size() -> None:
    assert times(simulate(Rollout(fanout=2), [(1, OK)] * 5)) == [0, 0, 1, 1, 2]
    assert times(simulate(Rollout(fanout=9), [(1, OK)] * 4, pool_size=2)) == [0, 0, 1, 1]


def test_batches_and_pauses() -> None:
    run = simulate(Rollout(serial=[1, "50%"], pause=10), [(1, OK), (3, OK), *[(2, OK)] * 3])
    assert times(run) == [0, 11, 11, 24, 24]
    run = simulate(Rollout(serial="1%"), [(1, OK)] * 3)
    assert times(run) == [0, 1, 2]


def test_the_size_of_batches() -> None:
    assert [hosts_in("10%", n) for n in (1, 9, 10, 29, 5000)] == [1, 1, 1, 2, 500]
    assert hosts_in("12.5 %", 80) == 10
    assert hosts_in("100%", 3) == 3
    assert hosts_in(7, 3) == 7


def test_connect_rate() -> None:
    run = simulate(Rollout(connect_rate=2), [(10, OK)] * 4, connected=frozenset({1, 2}))
    assert times(run) == [0, 0, 0, 0.5]
    # Time in which nobody connected is not made up for.
    run = simulate(Rollout(connect_rate=2, fanout=1), [(3, OK), (0, OK), (0, OK)])
    assert times(run) == [0, 3, 3.5]


def test_connect_rate_of_repeated_attempts() -> None:
    schedule = Schedule(2, Rollout(connect_rate=2), 0, 100)
    assert schedule.next(0) == Start(0)
    assert schedule.connect_again(0.1) == pytest.approx(0.4)
    assert schedule.connect_again(0.1) == pytest.approx(0.9)
    decision = schedule.next(0.2)
    assert isinstance(decision, Wait)
    assert decision.seconds == pytest.approx(1.3)
    assert schedule.connect_again(9) == 0
    assert Schedule(2, Rollout(), 0, 100).connect_again(7) == 0


def test_failed_and_unreachable_are_counted_apart() -> None:
    takes = [(1, FAILED), (1, UNREACHABLE), (1, FAILED), (1, UNREACHABLE), (1, FAILED), (1, OK)]
    run = simulate(Rollout(fanout=1, max_failures=2), takes)
    assert run.left_out == [5]
    assert run.schedule.stopped == "3 hosts failed, and max_failures is 2"
    run = simulate(Rollout(fanout=1, max_unreachable=0), takes)
    assert run.left_out == [2, 3, 4, 5]
    assert run.schedule.stopped == "1 host unreachable, and max_unreachable is 0"
    assert simulate(Rollout(fanout=1, max_failures=3, max_unreachable=2), takes).left_out == []


def test_percentages_are_of_a_batch() -> None:
    """As in Ansible: more than the percentage, not as much."""
    takes = [(1, FAILED), (1, OK), (1, FAILED), (1, OK), (1, FAILED), (1, FAILED), (1, OK)]
    run = simulate(Rollout(serial=2, max_fail_percentage=50), takes)
    assert run.left_out == [6]
    assert run.schedule.stopped == "2 of 2 hosts failed, and max_fail_percentage is 50"
    assert simulate(Rollout(fanout=1, max_fail_percentage=50), takes).left_out == [6]
    takes = [(1, UNREACHABLE), (1, OK), (1, OK)]
    run = simulate(Rollout(serial=2, max_unreachable_percentage=49), takes)
    assert run.left_out == [2]
    assert "max_unreachable_percentage is 49" in (run.schedule.stopped or "")


def test_what_runs_comes_to_its_end() -> None:
    run = simulate(Rollout(fanout=3, max_failures=0), [(5, OK), (1, FAILED), (9, OK), (1, OK)])
    assert [host for _, host in run.ended] == [1, 0, 2]
    assert run.left_out == [3]


def test_the_last_failure_stops_nothing() -> None:
    run = simulate(Rollout(max_failures=0), [(1, OK), (1, FAILED)])
    assert run.schedule.stopped is None


def test_timeouts() -> None:
    run = simulate(Rollout(fanout=1, host_timeout=3), [(100, OK), (2, OK), (100, OK)])
    assert times(run) == [0, 3, 5]
    assert run.ends == {0: FAILED, 1: OK, 2: FAILED}
    run = simulate(Rollout(fanout=2, timeout=4), [(3, OK), (100, OK), (100, OK), (1, OK)])
    assert run.left_out == [3]
    assert run.ended == [(3, 0), (4, 1), (4, 2)]
    assert run.schedule.stopped == "the run had taken its timeout of 4 seconds"


def test_stop() -> None:
    schedule = Schedule(3, Rollout(fanout=1), 0, 100)
    assert schedule.next(0) == Start(0)
    schedule.stop("first")
    schedule.stop("second")
    assert schedule.next(1) == Wait(None)
    schedule.ended(0, OK, 2)
    assert schedule.next(2) == Over()
    assert schedule.stopped == "first"
    assert list(schedule.leave_out()) == [1, 2]
    assert list(schedule.leave_out()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"fanout": 0},
        {"fanout": True},
        {"fanout": 2.5},
        {"serial": 0},
        {"serial": []},
        {"serial": "0%"},
        {"serial": "101%"},
        {"serial": "10"},
        {"serial": [1, "x%"]},
        {"serial": 1.5},
        {"serial": 1, "pause": -1},
        {"pause": 1},
        {"connect_rate": 0},
        {"connect_rate": float("nan")},
        {"max_failures": -1},
        {"max_fail_percentage": 101},
        {"max_unreachable": "1"},
        {"max_unreachable_percentage": -1},
        {"host_timeout": 0},
        {"timeout": -5},
    ],
)
def test_values_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{list(wrong)[-1]} "):
        Rollout(**wrong)
