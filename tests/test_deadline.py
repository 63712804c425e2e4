"""The limit on how long a step may take."""

from __future__ import annotations

import math
import time

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.deadline import Deadline
from pssh.exceptions import Timeout

#: Seconds: nothing here takes so long.
LONG = 600


def wait_for_ever(seconds: float | None, step: str = "wait") -> None:
    with Deadline(seconds, "the-host", 22, step):
        Event().wait(LONG)


def test_names_host_step_and_seconds() -> None:
    with pytest.raises(
        Timeout, match=r"the-host:22 took longer than 0\.01 seconds to wait"
    ) as info:
        wait_for_ever(0.01)
    assert (info.value.host, info.value.port, info.value.step) == ("the-host", 22, "wait")


def test_the_step_may_change_on_the_way() -> None:
    with (
        pytest.raises(Timeout, match="to dance"),
        Deadline(0.01, "the-host", 22, "sing") as deadline,
    ):
        deadline.step = "dance"
        Event().wait(LONG)


def test_a_block_that_was_left_is_not_interrupted() -> None:
    with Deadline(0.01, "the-host", 22, "be quick"):
        pass
    gevent.sleep(0.03)


@pytest.mark.parametrize("seconds", [None, 0, math.inf])
def test_without_seconds_there_is_no_limit(
    seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it was the first in this process.
    monkeypatch.delitem(gevent.get_hub().__dict__, "_pssh_alarm", raising=False)
    with Deadline(seconds, "the-host", 22, "wait"):
        gevent.sleep(0.01)


def test_shorter_ones_end_earlier_whatever_the_order() -> None:
    ended: list[str] = []

    def wait(seconds: float, name: str) -> None:
        with pytest.raises(Timeout, match=f"to {name}"):
            wait_for_ever(seconds, name)
        ended.append(name)

    times = {"third": 0.09, "first": 0.03, "second": 0.06, "fourth": 0.12}
    greenlets = [gevent.spawn(wait, seconds, name) for name, seconds in times.items()]
    gevent.joinall(greenlets, raise_error=True)
    assert ended == sorted(times, key=lambda name: times[name])


def test_the_inner_one_of_two_ends_only_its_own_block() -> None:
    with Deadline(LONG, "the-host", 22, "wait for all of it"):
        with pytest.raises(Timeout, match="to wait for a part"):
            wait_for_ever(0.01, "wait for a part")
        gevent.sleep(0)


def test_the_outer_one_of_two_ends_both_blocks() -> None:
    with (
        pytest.raises(Timeout, match="to wait for all of it"),
        Deadline(0.01, "the-host", 22, "wait for all of it"),
    ):
        wait_for_ever(LONG, "wait for a part")


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(KeyError), Deadline(LONG, "the-host", 22, "look"):
        raise KeyError


def test_a_time_out_of_the_user_is_not_ours() -> None:
    with (
        gevent.Timeout(0.01) as theirs,
        pytest.raises(gevent.Timeout) as info,
        Deadline(LONG, "the-host", 22, "wait"),
    ):
        Event().wait(LONG)
    assert info.value is theirs


def test_one_that_expires_may_lead_to_new_ones() -> None:
    """The error is handled while the others that are due have not had their turn."""
    ended: list[str] = []

    def wait(name: str) -> None:
        with pytest.raises(Timeout):
            wait_for_ever(0.02, name)
        for _ in range(3):
            with Deadline(LONG, "the-host", 22, "tidy up"):
                gevent.sleep(0)
        with pytest.raises(Timeout):
            wait_for_ever(0.01, name)
        ended.append(name)

    names = [str(number) for number in range(20)]
    gevent.joinall([gevent.spawn(wait, name) for name in names], raise_error=True)
    assert sorted(ended) == sorted(names)


def test_one_that_its_greenlet_dies_of_leaves_the_others_theirs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A bare one: what it raises comes out where it was thrown in.
    gevent.spawn_raw(wait_for_ever, 0.02, "die")
    others = [gevent.spawn(wait_for_ever, seconds) for seconds in (0.02, 0.04)]
    gevent.sleep(0)
    for other in others:
        with pytest.raises(Timeout):
            other.get(timeout=10)
    assert "to die" in capfd.readouterr().err


def test_many_that_are_over_do_not_pile_up() -> None:
    with Deadline(LONG, "the-host", 22, "wait for all of it") as outer:
        for _ in range(10_000):
            with Deadline(LONG, "the-host", 22, "wait for a part"):
                pass
        alarm = outer._alarm
        assert alarm is not None
        assert len(alarm._deadlines) < 2000


def test_the_loop_may_end_when_nothing_is_waited_for() -> None:
    with Deadline(LONG, "the-host", 22, "be quick"):
        pass
    began = time.monotonic()
    assert gevent.get_hub().join(LONG)
    assert time.monotonic() - began < LONG / 2


def test_the_loop_goes_on_while_a_block_waits() -> None:
    for _ in range(2):  # also with the timer that was left from before
        greenlet = gevent.spawn(wait_for_ever, 0.05)
        gevent.sleep(0)
        with pytest.raises(Timeout):
            greenlet.get()
