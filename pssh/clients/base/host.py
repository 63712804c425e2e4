"""A host and the connection to it: opened when it is needed, kept, closed."""

from __future__ import annotations

import inspect
import sys
import warnings
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import gevent
from gevent import getcurrent
from gevent.exceptions import LoopExit
from gevent.lock import BoundedSemaphore

from pssh import config as configuration
from pssh import proxy_route
from pssh.clients.base.agent_forwarding import AgentForwarding
from pssh.clients.base.closing import Closing
from pssh.clients.base.command import Command
from pssh.clients.base.configured_host import ConfiguredHost
from pssh.clients.base.connect import connect
from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.ending import end_all, end_commands
from pssh.clients.base.endless import explain
from pssh.clients.base.proxy_command import ProxyCommand
from pssh.clients.base.resources import Resources
from pssh.clients.base.seam import Algorithms, Channel, Destination, Session
from pssh.clients.base.tcp import TCP
from pssh.clients.base.through_proxy import ThroughProxy
from pssh.clients.base.transport import Transport
from pssh.config import HostConfig
from pssh.exceptions import (
    ConnectionLostError,
    SessionError,
)

if TYPE_CHECKING:
    # In Python 3.10 the standard library lacks it; type checkers bring it along.
    from typing_extensions import Unpack

    from pssh.settings import ClientSettings

_Self = TypeVar("_Self", bound="HostClient")


class HostClient(ConfiguredHost, Closing):
    """Keeps one host's settings and its connection.

    :param host: the host's name or address.
    :param settings: see :class:`pssh.clients.base.single.BaseSSHClient`.
    """

    #: What positional arguments after the host mean.
    _POSITIONAL: ClassVar[Sequence[str]] = ()

    def __init__(self, host: str, *args: Any, **settings: Unpack[ClientSettings]) -> None:
        name = type(self).__name__
        config = configuration.from_arguments(name, self._POSITIONAL, args, settings)
        self.check(config)
        self._prepare(host, config.with_defaults(), Resources(), config)
        self.connect()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature("host", cls._POSITIONAL)  # type: ignore[attr-defined]

    @classmethod
    def for_host(
        cls: type[_Self],
        host: str,
        config: HostConfig,
        resources: Resources,
        given: HostConfig | None = None,
        leads_to: tuple[HostClient, Hashable] | None = None,
    ) -> _Self:
        """Make a client that is not connected yet and shares what others have read.

        :param host: the host's name or address.
        :param config: its settings, checked and complete.
        :param resources: what is shared.
        :param given: its settings without the defaults, where an OpenSSH configuration is to
            be read.
        :param leads_to: the client of the host that is reached through this one, and what
            tells this one from others on the way.
        """
        client = cls.__new__(cls)
        client._prepare(host, config, resources, given)
        if leads_to is not None:
            target, key = leads_to
            client._inherited = target._inherited
            client._leads_to = (*target._leads_to, key)
        return client

    def _prepare(
        self, host: str, config: HostConfig, resources: Resources, given: HostConfig | None
    ) -> None:
        # At a NUL a name would end, and lead to another host.
        if not configuration.is_text(host):
            raise ValueError(f"A host is a name or an address, not {host!r}")
        self._set(host, config, resources, given)
        self._connection: Connection | None = None
        self._times_closed = 0
        self._connector: list[Any] | None = None
        self._forwarding: AgentForwarding | None = None
        #: Those of ``set_env`` that the server does not take (sshd_config: AcceptEnv).
        self._refused_variables: set[str] = set()
        self._connecting = BoundedSemaphore(1)
        #: Finds what is to be told of Ctrl-C, where this host is one of several.
        self.interrupts: Callable[[], Callable[[], None] | None] = _nobody
        self._resources.check_files(config)

    # What a library has to say

    @classmethod
    @abstractmethod
    def _new_session(cls, host: str, port: int, algorithms: Algorithms) -> Session:
        """Make the library's session."""

    # The connection

    @property
    def session(self) -> Session | None:
        """The library's session, behind the seam; ``None`` while there is no connection."""
        return self._connection.session if self._connection is not None else None

    @property
    def connection(self) -> Connection | None:
        """The connection, which may have ended; ``None`` while there is none."""
        return self._connection

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known without asking."""
        return self._connection is not None and self._connection.alive

    def connect(self, before_retry: Callable[[], object] | None = None) -> Connection:
        """Return the connection, opening it where there is none that works.

        :param before_retry: called before each attempt but the first one; may wait.
        :raises PSSHError: when the host cannot be reached or does not let the user in.
        """
        connection = self._connection
        if connection is not None and connection.alive:
            return connection
        closed_before = self._times_closed
        # Greenlets that need it at the same time share one attempt.
        with self._connecting:
            if self._times_closed != closed_before:
                raise self._closed_meanwhile()
            if self._connection is None or not self._connection.alive:
                self._drop_connection()
                self._complete_settings()
                self._check_password()
                self._connection = self._new_connection(before_retry)
            return self._connection

    def complete_settings(self) -> None:
        """Complete the settings by an OpenSSH configuration, if there is one to be asked.

        :raises SSHConfigError: when it is wrong.
        :raises InvalidAPIUseError: when it asks for what this client cannot do.
        """
        if self._given is not None:
            with self._connecting:
                self._complete_settings()

    def _new_connection(self, before_retry: Callable[[], object] | None) -> Connection:
        closed_before = self._times_closed
        forwarded = self._forwarded_agent()
        # In a list of its own: the greenlet may connect for somebody else afterwards.
        self._connector = [gevent.getcurrent()]
        try:
            connection = connect(self._target(), self._new_session, self._transport(), before_retry)
        except _Closed:
            raise self._closed_meanwhile() from None
        finally:
            self._connector = None
        if self._times_closed != closed_before:
            connection.close()
            raise self._closed_meanwhile()
        if forwarded is not None:
            try:
                self._forwarding = AgentForwarding(connection, forwarded)
            except BaseException:
                connection.close()
                raise
        return connection

    def _end_connecting(self, connector: list[Any]) -> None:
        """Runs in the loop."""
        if self._connector is connector:
            connector[0].throw(_Closed())

    def _closed_meanwhile(self) -> ConnectionLostError:
        return ConnectionLostError(
            "The client of host %s:%s was closed while it connected",
            self.host,
            self.port,
            host=self.host,
            port=self.port,
        )

    def request_agent(self, channel: Channel) -> None:
        """Ask the server to offer the agent to what will run on a channel, where it is wanted.

        :param channel: a session channel of this client's connection.
        """
        forwarding = self._forwarding
        if forwarding is not None and forwarding.connection is self._connection:
            forwarding.request(channel)

    def _drop_connection(self) -> None:
        self._forwarding = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _transport(self) -> Transport:
        """Return the way to the host."""
        config = self.config
        hostname = config.hostname or self.host
        words = proxy_route.command_words(config, hostname, self.port, self.user)
        if words is not None:
            return ProxyCommand(words)
        hop = self._next_hop()
        if hop is not None:
            leads_to = (self, hop.key())
            make = partial(self.for_host, hop.host, hop.config, self._resources, leads_to=leads_to)
            return ThroughProxy(self._resources.proxies, hop, make)
        family = "inet6" if config.ipv6_only else config.address_family or "any"
        return TCP(family, config.bind_address)

    def close(self) -> None:
        """Close the connection. Commands that run lose it; a new command connects again.

        An attempt to connect ends at once, with ``ConnectionLostError``.
        """
        self._end()
        if getcurrent() is not gevent.get_hub():
            # What it was carried through has a turn to end as well.
            gevent.sleep(0)

    def _end(self) -> None:
        self._times_closed += 1
        if self._connector is not None:
            gevent.get_hub().loop.run_callback(self._end_connecting, self._connector)
        self._drop_connection()

    def interrupted(self, command: Command) -> None:
        """End what runs, after Ctrl-C in a call that was about a command.

        Of a host that is one of several that is what runs on all of them.

        :param command: the command.
        :raises KeyboardInterrupt: when there is another one meanwhile: connections are closed.
        """
        interrupt = self.interrupts()
        if interrupt is not None:
            interrupt()
        end_commands([command])

    def stuck(self, command: Command, error: LoopExit) -> BaseException:
        """Say why nobody can wait for a command, when nothing ends the wait.

        :param command: the command.
        :param error: what gevent says of that.
        :returns: what to raise.
        """
        return explain([command], error)

    def _interrupt(self) -> None:
        if self._connection is not None:
            end_all([self._connection])

    def disconnect(self) -> None:
        """Close the connection.

        .. deprecated:: 3.0 Use :meth:`close`, or the client as a context manager.
        """
        warnings.warn("disconnect is deprecated: use close", DeprecationWarning, stacklevel=2)
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_connection", None) is not None:
            self._end()

    def open_channel(self, seconds: float | None) -> tuple[Connection, Channel]:
        """Open a session channel, on a new connection when the one that stood has ended.

        :param seconds: how long that may take.
        """
        return self._open(_open_session, seconds)

    def open_direct_tcpip(self, destination: Destination) -> tuple[Connection, Channel]:
        """Open a channel to somewhere else, on a new connection when the one that stood has ended.

        :param destination: where to, as the host sees it.
        :raises SessionError: when the host refuses, or cannot connect.
        :raises Timeout: when that takes longer than the setting ``timeout``.
        """
        return self._open(
            lambda connection: connection.open_direct_tcpip(destination), self.config.timeout
        )

    def _open(
        self, open_channel: Callable[[Connection], Channel], seconds: float | None
    ) -> tuple[Connection, Channel]:
        """Open a channel; once more when the connection has ended unnoticed.

        Nothing has been started on it yet, so that is safe to do again.
        """
        stood = True
        connection = self._connection
        if connection is None or not connection.alive:
            stood, connection = False, self.connect()
        try:
            with Deadline(seconds, self.host, self.port, "open a channel"):
                return connection, open_channel(connection)
        except ConnectionLostError:
            if not stood:
                raise
        connection = self.connect()
        with Deadline(seconds, self.host, self.port, "open a channel"):
            return connection, open_channel(connection)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.user}@{self.host}:{self.port}>"


def _nobody() -> None:
    return None


class _Closed(BaseException):
    """Ends an attempt to connect. Not an error: nobody may think of trying again."""


#: How often a server is asked again for a session when one has just ended.
_ASK_AGAIN_MAX = 20


def _open_session(connection: Connection) -> Channel:
    """Open a session channel, if need be after those that are about to end have ended."""
    if connection.ended and connection.ending and _is_dropbear(connection):
        # Dropbear (2022.83 for one) may close a session that begins while one ends.
        gevent.joinall(list(connection.ending))
    for _ in range(_ASK_AGAIN_MAX):
        try:
            return connection.open_session()
        except SessionError:
            # A server allows only so many at a time (sshd_config: MaxSessions), and counts one
            # until it has noticed that its program has ended, a moment after it has said so.
            if not connection.ended:
                raise
            gevent.joinall(list(connection.ending))
    connection.ended = False
    return connection.open_session()


def _is_dropbear(connection: Connection) -> bool:
    return "dropbear" in connection.session.server_version().lower()


def signature(first: str, positional: Sequence[str]) -> inspect.Signature:
    """Show in ``help()`` what the constructor takes: the settings, from their declaration."""
    defaults = configuration.arguments()
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(first, kind)]
    parameters += [
        inspect.Parameter(name, kind, default=defaults.pop(name, None)) for name in positional
    ]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in defaults.items()
    ]
    return inspect.Signature(parameters)
