"""Ctrl-C that comes where Python can only report it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

from pssh.clients.base import interrupts

_start_thread = get_original("_thread", "start_new_thread")
_allocate_lock = get_original("_thread", "allocate_lock")


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the program's own hook is told."""
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: found.append(each.exc_type))
    interrupts._set_hook.cache_clear()
    interrupts.mind_lost()
    yield found
    interrupts._set_hook.cache_clear()


class Fails:
    """Fails when it is destroyed.

    :param error: with what.
    """

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __del__(self) -> None:
        raise self._error


def destroy(error: type[BaseException]) -> None:
    """Have a destructor fail."""
    Fails(error)


class Referred:
    """Something that a weak reference leads to."""


def forget(error: type[BaseException]) -> None:
    """Have fail what is called when an object goes."""

    def fail(_: object) -> None:
        raise error

    referred = Referred()
    reference = weakref.ref(referred, fail)
    del referred
    assert reference() is None


@pytest.mark.parametrize("fail", [destroy, forget])
def test_it_reaches_the_program(
    reported: list[Any], fail: Callable[[type[BaseException]], None]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt)
        gevent.sleep(10)
    # What else goes wrong is reported as ever.
    fail(ZeroDivisionError)
    gevent.sleep(0)
    assert reported == [ZeroDivisionError]


def run_in_a_thread(function: Callable[[], object]) -> None:
    """Have a thread do something, and wait for that."""
    done = _allocate_lock()
    done.acquire()

    def run() -> None:
        function()
        done.release()

    _start_thread(run, ())
    assert done.acquire(timeout=10)


def test_a_thread_of_the_program_is_left_alone(reported: list[Any]) -> None:
    # One that has connections, whose number goes to the next one.
    run_in_a_thread(interrupts.mind_lost)
    run_in_a_thread(lambda: destroy(KeyboardInterrupt))
    gevent.sleep(0)
    assert reported == [KeyboardInterrupt]
