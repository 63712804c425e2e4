"""Commands on many hosts: at once or by rules, until they end or are ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import gevent
from gevent import getcurrent
from gevent.exceptions import LoopExit

from pssh.clients.base import workers
from pssh.clients.base.command import Command
from pssh.clients.base.command_request import CommandRequest
from pssh.clients.base.ending import end_commands, interrupted
from pssh.clients.base.endless import explain
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.parallel_files import ParallelFileAccess
from pssh.clients.base.parallel_run import INTERRUPTED, Watch, not_tried, results_for
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import CommandStart
from pssh.clients.base.waiting import raise_error_of_on_line
from pssh.exceptions import InvalidAPIUseError, NotTriedError, StoppedError
from pssh.fleet import FleetResult, HostResult, HostState, Observer, Rollout
from pssh.output import HostOutput

if TYPE_CHECKING:
    # In Python 3.10 the standard library lacks it; type checkers bring it along.
    from typing_extensions import Unpack

    from pssh.settings import ParallelSettings

_Item = TypeVar("_Item")

#: Starts on a host, whose position is told too, what whoever called then has read.
StartOn = Callable[[BaseSSHClient, int], tuple[HostOutput, Command]]


class ParallelCommands(ParallelFileAccess):
    """The part of a parallel client that has commands run.

    :param hosts: see :class:`pssh.clients.base.parallel.BaseParallelSSHClient`.
    :param settings: likewise.
    """

    def __init__(
        self, hosts: Iterable[str], *args: Any, **settings: Unpack[ParallelSettings]
    ) -> None:
        super().__init__(hosts, *args, **settings)
        self._output: list[HostOutput] | None = None
        self.cmds: list[CommandStart] | None = None
        #: The last commands of whose results no account is kept: until somebody asks, they
        #: know best themselves.
        self._unwatched: _Unwatched | None = None

    def _run_at_once(
        self, requests: Sequence[CommandRequest], observer: Observer | None
    ) -> list[CommandStart]:
        """Start all commands, and return while they run."""
        cmds: list[CommandStart] = []
        self.cmds, self._output = cmds, None
        self._start_at_once(
            cmds, lambda client, index: client.start_command(requests[index]), observer
        )
        return cmds

    def _start_at_once(
        self, starts: list[CommandStart], start_on: StartOn, observer: Observer | None = None
    ) -> None:
        """Start commands or shells on all hosts, and return while they run.

        :param starts: gets the start of each, in the order of the hosts.
        :param start_on: starts one.
        """
        watch = self._watch(observer) if observer is not None else None
        if watch is None:
            self._unwatched = _Unwatched(list(self._hosts), self._aliases(), starts)
            self._result = None
        try:
            for index in range(len(self._hosts)):
                self._slots.acquire()
                starts.append(CommandStart())
                workers.start(self._run_on_host, starts[-1], index, start_on, watch)
            _wait_for_starts(starts)
        except KeyboardInterrupt:
            self._interrupt_starts(starts, watch)
            raise

    def _run_on_host(
        self, start: CommandStart, index: int, start_on: StartOn, watch: Watch | None
    ) -> None:
        host = watch.result[index] if watch is not None else None
        try:
            if start.ready():
                return
            start.starter = getcurrent()
            if watch is not None and host is not None:
                watch.change(host, HostState.CONNECTING)
            output, running = start_on(self._client_of(index), index)
        except KeyboardInterrupt as ex:
            # Out of a bare greenlet it would get in the way of whatever switched to this one.
            pass_on(ex)
            # Whoever it is meant for, and waits for this start, gets to know before it has failed.
            gevent.sleep(0)
            self._fail_to_start(start, index, self._interrupted(index), watch)
            return
        except BaseException as ex:
            # Whatever it is, somebody waits for the start.
            self._fail_to_start(start, index, ex, watch)
            if not isinstance(ex, Exception):
                raise
            return
        finally:
            start.starter = None
            self._slots.release()
        if start.ready():
            # It has been given up meanwhile, and whoever did that ends it.
            running.run()
            return
        start.set(output)
        if watch is None or host is None:
            running.run()
            return
        host.output = output
        watch.change(host, HostState.RUNNING)
        _run_to_the_end(running)
        host.exception = output.exception
        watch.change(host, state_of(start))

    def _fail_to_start(
        self, start: CommandStart, index: int, error: BaseException, watch: Watch | None
    ) -> None:
        if start.ready():
            return
        client = self._clients[index] if index < len(self._clients) else None
        start.unreachable = client is None or client.session is None
        start.set_exception(error)
        if watch is not None:
            host = watch.result[index]
            host.exception = error
            watch.change(host, state_of(start))

    def _interrupt_starts(self, cmds: list[CommandStart], watch: Watch | None) -> None:
        """Start no more commands, and end those that run or are being started, after Ctrl-C."""
        with self._closed_by_another_interrupt():
            self._give_up_starts(cmds, watch)
            self._interrupt()

    def _give_up_starts(self, cmds: list[CommandStart], watch: Watch | None) -> None:
        result = self.last_result
        if len(cmds) < len(self._hosts) and result is not None:
            result.stopped = INTERRUPTED
        for host in self._hosts[len(cmds) :]:
            cmds.append(CommandStart())
            self._fail_to_start(cmds[-1], len(cmds) - 1, not_tried(host, INTERRUPTED), watch)
        for index, cmd in enumerate(cmds):
            client = self._clients[index]
            if not cmd.ready():
                self._fail_to_start(cmd, index, self._interrupted(index), watch)
                if client is not None and not client.connected:
                    client.close()
                gevent.get_hub().loop.run_callback(_give_up, cmd)
        # They do so now, and what some of them may have started is left to be ended.
        gevent.sleep(0)

    def _interrupted(self, index: int) -> StoppedError:
        client = self._clients[index]
        return interrupted(self._hosts[index], client.port if client is not None else None)

    def _run_by_rules(
        self, requests: Sequence[CommandRequest], rules: Rollout, observer: Observer | None
    ) -> list[CommandStart]:
        """Run commands as the rules allow, and return when all have ended."""
        cmds = [CommandStart() for _ in requests]

        def work(client: BaseSSHClient, host: HostResult) -> bool:
            host.output, running = client.start_command(requests[host.index])
            cmds[host.index].set(host.output)
            _run_to_the_end(running)
            host.exception = host.output.exception
            return state_of(cmds[host.index]) is HostState.OK

        def on_end(host: HostResult) -> None:
            if not cmds[host.index].ready():
                cmds[host.index].unreachable = host.state is HostState.UNREACHABLE
                cmds[host.index].set_exception(host.exception)

        if not any(request.on_line for request in requests):
            self._check_buffers()
        watch = self._watch(observer)
        self.cmds, self._output = cmds, None
        try:
            self._new_run(work, rules, watch, on_end).run()
        except KeyboardInterrupt:
            # What was about to be started is left.
            self._interrupt()
            raise
        for host in watch.result:
            if host.output is not None:
                raise_error_of_on_line(host.output)
        return cmds

    def _check_buffers(self) -> None:
        """Nobody reads before all commands have ended: none of them may wait for that."""
        default = self._complete_config.buffer_overflow
        overflows = {config.buffer_overflow or default for config in self.host_config or ()}
        if "block" in (overflows or {default}):
            raise InvalidAPIUseError(
                "With rollout, run_command returns when the commands have ended, and one that "
                'prints much does not end with buffer_overflow="block" before it is read'
            )

    @property
    def last_result(self) -> FleetResult | None:
        """What has become of each host in the last call of ``run_command``, ``open_shell``,
        ``connect_auth`` or one of the functions that copy; ``None`` before the first.

        Without rules or an observer, how far commands and shells have come is what it was when
        this was asked for.
        """
        unwatched = self._unwatched
        if unwatched is not None and self._result is unwatched.result:
            if self._result is None:
                self._result = unwatched.make_result()
            unwatched.update()
        return self._result

    def _outputs_of(self, cmds: Sequence[CommandStart]) -> list[HostOutput]:
        """Return an output for each host; one with the error where nothing was started."""
        outputs = []
        for index, cmd in enumerate(cmds):
            if cmd.exception is None:
                outputs.append(cmd.value)
                continue
            outputs.append(
                HostOutput(
                    self._hosts[index],
                    alias=self._config_of(index).alias,
                    client=self._clients[index],
                    exception=cmd.exception,
                )
            )
        return outputs

    def _outputs(self, cmds: Sequence[CommandStart]) -> list[HostOutput]:
        """Return the outputs of commands that were started, or not, as the others."""
        if self.cmds is not cmds:
            # Another greenlet has had others run meanwhile.
            return self._outputs_of(cmds)
        return self.get_last_output() or []

    def get_last_output(
        self, cmds: Sequence[CommandStart] | None = None
    ) -> list[HostOutput] | None:
        """Return the output of the last commands, ``None`` before the first.

        :param cmds: other commands: a list that :attr:`cmds` was.
        """
        if cmds is None:
            if self.cmds is not None and self._output is None:
                _wait_for_starts(self.cmds)
                self._output = self._outputs_of(self.cmds)
            return self._output
        _wait_for_starts(cmds)
        return self._outputs_of(cmds)

    @contextlib.contextmanager
    def _ended_by_interrupt(self, outputs: Sequence[HostOutput]) -> Iterator[None]:
        """Ctrl-C while somebody waits for commands ends them."""
        try:
            yield
        except KeyboardInterrupt:
            end_commands(out.command for out in outputs if out.command is not None)
            raise
        except LoopExit as ex:
            raise explain([out.command for out in outputs if out.command is not None], ex) from ex

    def _iterate(self, outputs: Sequence[HostOutput], items: Iterator[_Item]) -> Iterator[_Item]:
        with self._ended_by_interrupt(outputs):
            yield from items


class _Unwatched:
    """Commands, and what has become of them for those who want to know.

    :param hosts: the hosts' names.
    :param aliases: their aliases.
    :param cmds: their starts, as far as they have had their turn.
    """

    def __init__(
        self, hosts: Sequence[str], aliases: Sequence[str | None], cmds: Sequence[CommandStart]
    ) -> None:
        self._hosts = hosts
        self._aliases = aliases
        self._cmds = cmds
        self.result: FleetResult | None = None

    def make_result(self) -> FleetResult:
        """Make the result, which is up to date after :meth:`update`."""
        self.result = results_for(self._hosts, self._aliases)
        return self.result

    def update(self) -> None:
        """Bring the result up to date."""
        for host, cmd in zip(self.result or (), self._cmds, strict=False):
            host.state = state_of(cmd)
            host.exception = cmd.exception
            if cmd.successful():
                host.output = cmd.value
                host.exception = cmd.value.exception


def _wait_for_starts(cmds: Sequence[CommandStart]) -> None:
    # One after the other: while the first is waited for the others are started as well, and
    # to look at those costs nothing, whereas gevent.joinall has each of them report.
    for cmd in cmds:
        cmd.wait()


def _give_up(start: CommandStart) -> None:
    """Runs in the loop: have a greenlet give up a start."""
    if start.starter is not None:
        start.starter.throw(gevent.GreenletExit)


def _run_to_the_end(command: Command) -> None:
    """Read a command until it has ended, and whoever follows it has had its last line."""
    command.run()
    # Not in any case: that would be a switch, and whoever waits for it would go on first.
    if not command.finished:
        command.wait()


def state_of(start: CommandStart) -> HostState:
    """Return how far a command has come.

    :param start: its start.
    """
    if not start.ready():
        return HostState.CONNECTING
    if start.exception is not None:
        if isinstance(start.exception, NotTriedError):
            return HostState.NOT_TRIED
        return HostState.UNREACHABLE if start.unreachable else HostState.FAILED
    output: HostOutput = start.value
    if not output.finished:
        return HostState.RUNNING
    well = output.exit_code == 0 and output.exception is None
    return HostState.OK if well else HostState.FAILED
