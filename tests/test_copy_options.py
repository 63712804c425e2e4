"""What a copy is asked for, rates, and what a progress function is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.clients.base.files.options import CopyOptions, Meter, Prefix, Rate


class Clock:
    """A clock that only sleeping moves on, unless a test does.

    :ivar now: what it shows, in seconds.
    :ivar slept: how long each sleep was.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        patch.setattr("pssh.clients.base.files.options.time.monotonic", lambda: self.now)
        patch.setattr("pssh.clients.base.files.options.gevent.sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for :mod:`pssh.clients.base.files.options`."""
    return Clock(monkeypatch)


# Options


def test_defaults() -> None:
    found = CopyOptions()
    assert not found.preserve_times
    assert not found.atomic
    assert not found.resume
    assert found.progress is None
    assert found.limit_rate is None


@pytest.mark.parametrize(
    "wanted",
    [
        {"atomic": True, "preserve_times": True},
        {"resume": True, "preserve_times": True},
        {"progress": print},
        {"limit_rate": 1},
        {"limit_rate": 0.5},
        {"limit_rate": 10**12},
    ],
    ids=repr,
)
def test_possible_options(wanted: dict[str, Any]) -> None:
    found = CopyOptions(**wanted)
    for name, value in wanted.items():
        assert getattr(found, name) == value


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"atomic": True, "resume": True}, "atomic"),
        ({"limit_rate": 0}, "limit_rate"),
        ({"limit_rate": -1}, "limit_rate"),
        ({"limit_rate": math.nan}, "limit_rate"),
        ({"progress": "yes"}, "progress"),
        ({"progress": True}, "progress"),
    ],
    ids=repr,
)
def test_impossible_options(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CopyOptions(**wanted)


# Rates


def test_no_limit(clock: Clock) -> None:
    rate = Rate(None)
    for _ in range(3):
        rate.pause(10**12)
    assert clock.slept == []
    assert rate.piece(255 * 1024) == 255 * 1024


def test_a_limit(clock: Clock) -> None:
    rate, begin = Rate(1000), clock.now
    for _ in range(11):
        rate.pause(100)
    # The first one need not wait for anybody.
    assert clock.now - begin == pytest.approx(1.0)
    assert clock.slept == [pytest.approx(0.1)] * 10


def test_time_that_was_not_used_is_gone(clock: Clock) -> None:
    rate = Rate(1000)
    rate.pause(100)
    clock.now += 60
    begin = clock.now
    for _ in range(11):
        rate.pause(100)
    assert clock.now - begin == pytest.approx(1.0)


def test_those_who_wait_together_are_held_back_together(clock: Clock) -> None:
    rate, begin = Rate(1000), clock.now
    ends = []
    for count in (300, 200, 500, 1):
        rate.pause(count)
        ends.append(clock.now - begin)
    assert ends == [0, pytest.approx(0.3), pytest.approx(0.5), pytest.approx(1.0)]


@pytest.mark.parametrize(
    ("limit", "size", "piece"),
    [
        (10_000, 255 * 1024, 1000),
        (10_000, 500, 500),
        (10**9, 255 * 1024, 255 * 1024),
        (1, 32768, 1),
        (0.5, 32768, 1),
        (math.inf, 32768, 32768),
    ],
)
def test_pieces(limit: float, size: int, piece: int) -> None:
    assert Rate(limit).piece(size) == piece


# Progress


def test_a_meter_tells() -> None:
    told: list[tuple[object, ...]] = []
    meter = Meter("host", "/path", 10, lambda *values: told.append(values))
    for done in (0, 0, 4, 4, 10, 10):
        meter.tell(done)
    # That all has been sent, or has come, does not mean that the copy is there.
    assert told == [("host", "/path", 0, 10), ("host", "/path", 4, 10)]
    meter.finish(10)
    assert told[2:] == [("host", "/path", 10, 10)]


def test_a_total_that_was_not_known() -> None:
    told: list[tuple[int, int]] = []
    meter = Meter("host", "/path", 0, lambda host, path, done, total: told.append((done, total)))
    meter.tell(0)
    meter.tell(3)
    # Both numbers alike would say that it is there.
    assert told == []
    meter.finish(5)
    assert told == [(5, 5)]


def test_an_empty_file_is_told_once() -> None:
    told: list[tuple[int, int]] = []
    meter = Meter("host", "/path", 0, lambda host, path, done, total: told.append((done, total)))
    meter.tell(0)
    assert told == []
    meter.finish(0)
    assert told == [(0, 0)]


def test_nobody_wants_to_know() -> None:
    meter = Meter("host", "/path", 10, None)
    meter.tell(5)
    meter.finish(10)
    assert meter.total == 10


def test_what_it_raises_comes_up() -> None:
    def fail(*_values: object) -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        Meter("host", "/path", 10, fail).tell(1)


# Gaps


@given(st.permutations(range(8)), st.integers(0, 7))
def test_how_far_a_file_is_without_gaps(order: list[int], missing: int) -> None:
    # Eight parts of different sizes, after ten bytes that were there already.
    begins = [10 + sum(range(1, number + 1)) for number in range(9)]
    prefix = Prefix(10)
    for number in order:
        if number != missing:
            prefix.add(begins[number], number + 1)
    assert prefix.end == begins[missing]
    prefix.add(begins[missing], missing + 1)
    assert prefix.end == begins[8]


def test_without_any_part() -> None:
    assert Prefix(7).end == 7
