"""Crews, which do a number of things at the same time."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.files.crew import Crew, explore

MEGABYTE = 1024 * 1024


class Work:
    """Things that take until they are told to end.

    :ivar now: how many are going on.
    :ivar most: how many there were at a time.
    """

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.end = Event()

    def do(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.end.wait()
        self.now -= 1


@pytest.mark.parametrize(
    ("count", "most"), [(0, 10), (100, 10), (MEGABYTE, 8), (2 * MEGABYTE, 4), (2**40, 4)]
)
def test_how_many_at_a_time(count: int, most: int) -> None:
    crew, work = Crew(10), Work()

    def start() -> None:
        for _ in range(30):
            crew.start(work.do, count=count)
        crew.finish()

    starting = gevent.spawn(start)
    gevent.idle()
    assert work.now == most
    work.end.set()
    starting.get(timeout=10)
    assert work.most == most
    assert work.now == 0


def test_the_first_error_is_raised_and_nothing_more_begins() -> None:
    crew = Crew(3)

    def fail() -> None:
        raise KeyError("first")

    crew.start(fail)
    gevent.idle()
    with pytest.raises(KeyError, match="first"):
        crew.start(print)
    assert crew.idle
    with pytest.raises(KeyError, match="first"):
        crew.finish()


def test_stopping() -> None:
    crew, work = Crew(3), Work()
    for _ in range(3):
        crew.start(work.do)
    gevent.idle()
    crew.stop()
    gevent.idle()
    assert crew.idle
    crew.finish()


def test_exploring() -> None:
    visited = []

    def visit(folder: str) -> list[str]:
        visited.append(folder)
        return [folder + each for each in "ab"] if len(folder) < 3 else []

    explore(Crew(2), "", visit)
    assert sorted(visited) == sorted(
        ["", *"ab", "aa", "ab", "ba", "bb"] + [x + y + z for x in "ab" for y in "ab" for z in "ab"]
    )


def test_an_error_ends_exploring() -> None:
    def visit(folder: int) -> list[int]:
        if folder == 7:
            raise KeyError(folder)
        return [folder + 1]

    with pytest.raises(KeyError, match="7"):
        explore(Crew(2), 0, visit)
