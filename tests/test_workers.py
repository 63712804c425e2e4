"""Greenlets that do one job after the other."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base import workers


def do(*jobs: Callable[[], object]) -> None:
    """Have jobs done that do not wait, one after the other."""
    for job in jobs:
        done = Event()

        def work(job: Callable[[], object] = job, done: Event = done) -> None:
            try:
                job()
            finally:
                done.set()

        workers.start(work)
        assert done.wait(10)
        # The worker has a turn to note that it is idle.
        gevent.sleep(0)


def test_a_greenlet_does_one_job_after_the_other() -> None:
    greenlets: list[object] = []
    do(*[lambda: greenlets.append(gevent.getcurrent())] * 3)
    assert len(set(map(id, greenlets))) == 1


def test_jobs_run_at_the_same_time() -> None:
    count = 300
    running: list[int] = []
    go, done = Event(), Event()

    def job(number: int) -> None:
        running.append(number)
        if len(running) == count:
            go.set()
        go.wait()
        running.remove(number)
        if not running:
            done.set()

    for number in range(count):
        workers.start(job, number)
    assert done.wait(10)


def test_few_stay_when_many_have_worked() -> None:
    kept: list[weakref.ref[object]] = []
    go, done = Event(), Event()

    def job() -> None:
        kept.append(weakref.ref(gevent.getcurrent()))
        go.wait()
        if len(kept) == 300:
            done.set()

    for _ in range(300):
        workers.start(job)
    gevent.sleep(0)
    go.set()
    assert done.wait(10)
    gevent.sleep(0)
    gc.collect()
    assert sum(each() is not None for each in kept) <= 100


def test_nothing_of_a_job_is_kept() -> None:
    class Something:
        pass

    kept: list[object] = []

    def job(_something: Something) -> None:
        pass

    def in_thread() -> None:
        # The thread's first job begins a greenlet, which then does the second one.
        for _ in range(2):
            something = Something()
            reference = weakref.ref(something)
            workers.start(job, something)
            gevent.sleep(0)
            gevent.sleep(0)
            del something
            kept.append(reference())

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert kept == [None, None]


def test_an_error_is_printed_and_the_next_job_is_done(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise RuntimeError("not foreseen")

    done: list[bool] = []
    do(fail, lambda: done.append(True))
    assert done == [True]
    assert "not foreseen" in capfd.readouterr().err


def test_each_thread_has_its_own() -> None:
    found: list[tuple[object, int]] = []

    def in_thread() -> None:
        do(lambda: found.append((gevent.getcurrent(), threading.get_ident())))

    do(lambda: found.append((gevent.getcurrent(), threading.get_ident())))
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    (ours, our_thread), (theirs, their_thread) = found
    assert ours is not theirs
    assert our_thread != their_thread
