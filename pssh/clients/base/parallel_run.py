"""Work on many hosts, begun as the rules allow, observed, and brought to an end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from pssh.clients.base.ending import GRACE, end_command, interrupted
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import Task
from pssh.exceptions import NotTriedError, Timeout
from pssh.fleet import FleetResult, HostResult, HostState, Observer, Rollout
from pssh.fleet.schedule import Over, Overdue, Schedule, Start, Wait
from pssh.utils import logger

#: Does on a host, whose client is connected, what was asked for; whether it ended well.
Work = Callable[[BaseSSHClient, HostResult], bool]

#: How work has ended that was ended while it was in some state.
_CUT_SHORT = {
    HostState.WAITING: HostState.NOT_TRIED,
    HostState.CONNECTING: HostState.UNREACHABLE,
    HostState.RUNNING: HostState.FAILED,
}

INTERRUPTED = "this program was interrupted"


class Watch:
    """Keeps what becomes of each host, and tells an observer.

    :param result: the hosts.
    :param observer: is told.
    """

    def __init__(self, result: FleetResult, observer: Observer | None) -> None:
        self.result = result
        self._observer = observer
        self._left = len(result)
        self._tell("run_began", result)
        if not self._left:
            self._tell("run_ended", result)

    def change(self, host: HostResult, state: HostState) -> None:
        """A host has got further.

        :param host: the host.
        :param state: its new state.
        """
        host.state = state
        self._tell("host_changed", host)
        if state.final:
            self._left -= 1
            if not self._left:
                self._tell("run_ended", self.result)

    def copied(self, host: HostResult, count: int) -> None:
        """Bytes of a file have been copied.

        :param host: the host.
        :param count: how many.
        """
        self._tell("bytes_copied", host, count)

    @property
    def observed(self) -> bool:
        """Whether there is somebody to tell."""
        return self._observer is not None

    def _tell(self, what: str, *args: Any) -> None:
        if self._observer is None:
            return
        try:
            getattr(self._observer, what)(*args)
        except Exception:  # noqa: BLE001 (it is logged)
            # It is the user's: whatever it raises, the hosts have nothing to do with it.
            logger.exception("The observer %r failed", self._observer)


class FleetRun:
    """Work on the hosts of a client.

    :param watch: the hosts.
    :param client_of: returns the client of a host, or raises ``NotTriedError``.
    :param work: what to do there.
    :param rules: how to go about it.
    :param slots: are taken while work on a host goes on.
    :param pool_size: how many slots there are.
    :param connected: whether there is a connection to a host already.
    :param on_end: called with each host for which it has ended.
    """

    def __init__(
        self,
        watch: Watch,
        client_of: Callable[[int], BaseSSHClient],
        work: Work,
        rules: Rollout,
        slots: BoundedSemaphore,
        pool_size: int,
        connected: Callable[[int], bool],
        on_end: Callable[[HostResult], None] = lambda _: None,
    ) -> None:
        self.watch = watch
        self._client_of = client_of
        self._work = work
        self._slots = slots
        self._on_end = on_end
        self._schedule = Schedule(
            len(watch.result),
            rules,
            time.monotonic(),
            pool_size,
            lambda index: not connected(index),
        )
        self._jobs: dict[int, HostJob] = {}
        #: Something has happened after which the next host may have its turn.
        self._news = Event()
        #: It has ended for every host.
        self.over = Event()

    # For those who wait

    def run(self) -> None:
        """Work on all hosts, and return when it has ended for each.

        :raises KeyboardInterrupt: once no more is begun and what ran has been ended.
        """
        gevent.spawn(self._drive)
        try:
            self.over.wait()
        except KeyboardInterrupt:
            self.interrupt()
            raise
        except BaseException:
            # A time-out of the caller's: what runs may go on, as it does without rules.
            self.stop("the call was given up")
            raise

    def run_in_background(self) -> list[HostJob]:
        """Begin with the work, and return a greenlet for each host at once."""
        # Those whose turn has not come are no more than an object.
        self._jobs = {host.index: HostJob(self, host) for host in self.watch.result}
        jobs = list(self._jobs.values())
        gevent.spawn(self._drive)
        return jobs

    def stop(self, reason: str) -> None:
        """Begin nothing more.

        :param reason: why, for those hosts that are not tried.
        """
        self._schedule.stop(reason)
        self._news.set()

    def interrupt(self) -> None:
        """Begin nothing more, end the work that goes on, and wait until it has ended.

        :raises KeyboardInterrupt: when there is another one meanwhile: connections are closed,
            and nothing is waited for.
        """
        if self.over.is_set():
            return
        self.stop(INTERRUPTED)
        for index in sorted(self._schedule.running):
            job = self._jobs[index]
            self._cut(job, interrupted(job.host.host, job.port))
        try:
            self.over.wait()
        except KeyboardInterrupt:
            for index in sorted(self._schedule.running):
                self._jobs[index].close_client()
            raise

    # The hosts, one after the other

    def _drive(self) -> None:
        try:
            while not self._begin_what_may_begin():
                pass
        except KeyboardInterrupt:
            # It was meant for the program, which gets it from us, and not for this greenlet.
            gevent.spawn(self._drive)
            raise
        except BaseException:
            # Not foreseen: nobody may wait for hosts whose turn will not come.
            self.stop("the run broke down")
            self._leave_out_the_rest()
            self.over.set()
            raise
        self.over.set()

    def _begin_what_may_begin(self) -> bool:
        """Do what has to be done at this moment, and wait for the next; whether it is over."""
        self._news.clear()
        for overdue in self._schedule.overdue(time.monotonic()):
            job = self._jobs[overdue.host]
            self._cut(job, _took_too_long(job, overdue))
        decision = self._schedule.next(time.monotonic())
        if self._schedule.stopped is not None:
            self._leave_out_the_rest()
        if isinstance(decision, Start):
            self._start(decision.host)
        elif isinstance(decision, Wait):
            self._news.wait(decision.seconds)
        return isinstance(decision, Over)

    def _start(self, index: int) -> None:
        job = self._jobs.get(index)
        if job is None:
            job = self._jobs[index] = HostJob(self, self.watch.result[index])
        # Somebody may kill it, also before it has done anything.
        Task.rawlink(job, self._job_over)
        job.start()

    def _job_over(self, job: HostJob) -> None:
        """Runs in the loop."""
        if not job.host.state.final:
            self._leave_out(job.host, "its greenlet was killed")
            self._schedule.ended(job.host.index, HostState.NOT_TRIED, time.monotonic())
            self._news.set()

    def work_on(self, job: HostJob) -> None:
        """Do the work of a job.

        :param job: the job.
        """
        host = job.host
        try:
            with self._slots:
                if job.cut is not None:
                    raise job.cut
                job.client = self._client_of(host.index)
                self.watch.change(host, HostState.CONNECTING)
                job.client.connect(self._take_turn)
                self.watch.change(host, HostState.RUNNING)
                well = self._work(job.client, host)
        except BaseException as ex:
            if isinstance(ex, KeyboardInterrupt):
                # It came while this greenlet had its turn, but is meant for the program, whose
                # answer to it is to end this work, as that on the other hosts.
                pass_on(ex)
                job.cut = job.cut or interrupted(host.host, job.port)
            error = ex if job.cut is None else job.cut
            host.exception = error
            self._ended(host, _CUT_SHORT[host.state])
            if error is ex:
                raise
            raise error from None
        self._ended(host, HostState.OK if well else HostState.FAILED)

    def _take_turn(self) -> None:
        """Wait until a host may be connected to once more."""
        gevent.sleep(self._schedule.connect_again(time.monotonic()))

    def _ended(self, host: HostResult, state: HostState) -> None:
        del self._jobs[host.index]
        self._schedule.ended(host.index, state, time.monotonic())
        self.watch.change(host, state)
        self._on_end(host)
        self._news.set()

    def _leave_out_the_rest(self) -> None:
        """Tell whoever waits for a host whose turn will not come."""
        reason = self._schedule.stopped
        rest = self._schedule.leave_out()
        if rest:
            self.watch.result.stopped = reason
        for index in rest:
            self._leave_out(self.watch.result[index], reason or "")

    def _leave_out(self, host: HostResult, reason: str) -> None:
        job = self._jobs.pop(host.index, None)
        error = host.exception = not_tried(host.host, reason)
        self.watch.change(host, HostState.NOT_TRIED)
        self._on_end(host)
        if job is not None:
            job.refuse(error)

    # Ending work on a host

    def _cut(self, job: HostJob, error: Exception) -> None:
        """End the work on a host, in the background."""
        if job.cut is None:
            waiting = job.host.state is HostState.WAITING
            job.cut = not_tried(job.host.host, self._schedule.stopped or "") if waiting else error
            gevent.spawn(_end, job, job.cut)


def _end(job: HostJob, error: Exception) -> None:
    command = job.host.output.command if job.host.output is not None else None
    if command is not None:
        end_command(command, error)
        return
    # An attempt to connect that fails would be repeated: it is killed. A copy that fails may
    # tidy up over there, but not for ever.
    running = job.host.state is HostState.RUNNING
    job.kill(error if running else gevent.GreenletExit, block=False)
    job.join(GRACE)
    if not job.ready():
        job.close_client()


def _took_too_long(job: HostJob, overdue: Overdue) -> Timeout:
    what = "The run that host %s:%s is part of" if overdue.whole_run else "Work on host %s:%s"
    return Timeout(
        f"{what} took longer than %s seconds",
        job.host.host,
        job.port,
        overdue.limit,
        host=job.host.host,
        port=job.port,
        step="run" if overdue.whole_run else "work on the host",
    )


class HostJob(Task):
    """Work on one host of a run, as a greenlet that waits until the run starts it.

    :param run: the run.
    :param host: the host.
    """

    def __init__(self, run: FleetRun, host: HostResult) -> None:
        super().__init__(run.work_on, self)
        self.host = host
        self.client: BaseSSHClient | None = None
        #: Why the work was ended from outside, when it was.
        self.cut: Exception | None = None
        self._fleet_run = run
        self._known_interrupt: BaseException | None = None

    @property
    def port(self) -> int | None:
        """The host's port, once there is a client."""
        return self.client.port if self.client is not None else None

    def __repr__(self) -> str:
        # Not gevent's, which shows what it was made with, and so itself.
        return f"<{type(self).__name__} {self.host!r}>"

    def close_client(self) -> None:
        """Close the connection, at once."""
        if self.client is not None:
            self.client.close()

    def refuse(self, error: Exception) -> None:
        """End with an error without having begun."""
        self._error = error
        if not self.ready():
            self.start()

    def _attempt(self, function: Callable[..., Any], *args: Any) -> Any:
        return super()._attempt(function, *args) if self._error is None else None

    def rawlink(self, callback: Callable[[Any], None]) -> None:
        """What everybody who waits for a greenlet begins with."""
        self._known_interrupt = _current_interrupt()
        super().rawlink(callback)

    def unlink(self, callback: Callable[[Any], None]) -> None:
        """What everybody who waits for a greenlet ends with when he is interrupted.

        This is how Ctrl-C during ``gevent.joinall`` comes to our notice: gevent calls it while
        it handles the exception. One that was being handled when the wait began is no news.
        """
        super().unlink(callback)
        interrupt = _current_interrupt()
        if interrupt is not None and interrupt is not self._known_interrupt:
            self._fleet_run.interrupt()


def _current_interrupt() -> BaseException | None:
    error = sys.exc_info()[1]
    return error if isinstance(error, KeyboardInterrupt) else None


def not_tried(host: str, reason: str) -> NotTriedError:
    """Make the error of a host that had no turn.

    :param host: the host.
    :param reason: why it had none.
    """
    return NotTriedError("Host %s was not tried: %s", host, reason, host=host, reason=reason)


def check_rules(rollout: object, observer: object) -> None:
    """Find out whether these can be what they are given as.

    :raises TypeError: when they cannot.
    """
    if rollout is not None and not isinstance(rollout, Rollout):
        raise TypeError(f"rollout is a pssh.fleet.Rollout, not {rollout!r}")
    if observer is not None and not isinstance(observer, Observer):
        raise TypeError(f"observer is a pssh.fleet.Observer, not {observer!r}")


def results_for(hosts: Sequence[str], aliases: Sequence[str | None]) -> FleetResult:
    """Make a result in which all hosts wait.

    :param hosts: their names.
    :param aliases: their aliases.
    """
    return FleetResult(map(HostResult, count(), hosts, aliases))
