"""A host and the connection to it: opened when it is needed, kept, closed."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import gevent
from gevent import getcurrent
from gevent.lock import BoundedSemaphore

from pssh import agent_signing, proxy_route
from pssh import config as configuration
from pssh.clients.base import algorithms
from pssh.clients.base.agent_forwarding import AgentForwarding, ForwardedAgent
from pssh.clients.base.auth import Credentials
from pssh.clients.base.closing import Closing
from pssh.clients.base.connect import Target, connect
from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.own_agent import OwnAgent
from pssh.clients.base.proxy_command import ProxyCommand
from pssh.clients.base.resources import Resources
from pssh.clients.base.seam import GSSAPI, Algorithms, Channel, Destination, Session
from pssh.clients.base.tcp import TCP
from pssh.clients.base.through_proxy import ThroughProxy
from pssh.clients.base.transport import Transport
from pssh.config import HostConfig
from pssh.constants import DEFAULT_PORT
from pssh.exceptions import (
    ConnectionLostError,
    InvalidAPIUseError,
    SessionError,
    SSHConfigError,
)
from pssh.proxy_route import Hop, HopName

_Self = TypeVar("_Self", bound="HostClient")


class HostClient(Closing, ABC):
    """Keeps one host's settings and its connection.

    :param host: the host's name or address.
    :param settings: see :class:`pssh.clients.base.single.BaseSSHClient`.
    """

    #: Private keys that are tried where ``identity_auth`` is on, as in ssh_config(5).
    IDENTITIES: ClassVar[Sequence[str]] = (
        "~/.ssh/id_ed25519",
        "~/.ssh/id_ecdsa",
        "~/.ssh/id_rsa",
    )

    #: What positional arguments after the host mean.
    _POSITIONAL: ClassVar[Sequence[str]] = ()
    #: Settings that this client's library cannot do, and what to say about each.
    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {}

    def __init__(self, host: str, *args: Any, **settings: Any) -> None:
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
        if not host or not isinstance(host, str):
            raise ValueError(f"A host is a name or an address, not {host!r}")
        self.host = host
        self.config = config
        self._resources = resources
        self._connection: Connection | None = None
        self._times_closed = 0
        self._connector: Any = None
        self._forwarding: AgentForwarding | None = None
        #: Whether it is OpenSSH's configuration that asks for it, which may find no agent.
        self._forwards_if_possible = False
        #: Those of ``set_env`` that the server does not take (sshd_config: AcceptEnv).
        self._refused_variables: set[str] = set()
        self._connecting = BoundedSemaphore(1)
        #: What an OpenSSH configuration has still to be asked to complete.
        self._given = given if config.ssh_config else None
        #: What hosts on the way have from this one besides.
        self._inherited = proxy_route.inherited(given) if given and config.ssh_config else None
        #: What tells this host, and those that are reached through it, from others on the way.
        self._leads_to: tuple[Hashable, ...] = ()
        self._resources.check_files(config)

    # What a library has to say

    @classmethod
    @abstractmethod
    def _new_session(cls, host: str, port: int, algorithms: Algorithms) -> Session:
        """Make the library's session."""

    @classmethod
    @abstractmethod
    def supported_algorithms(cls, setting: str) -> Sequence[str]:
        """Return the names that the library knows for ``"ciphers"``, ``"macs"``,
        ``"kex_algorithms"``, ``"host_key_algorithms"`` or ``"public_key_algorithms"``.
        """

    @classmethod
    @abstractmethod
    def _offered_host_keys(cls) -> Sequence[str]:
        """Return the host key algorithms that are offered to an unknown host."""

    @classmethod
    def check(cls, config: HostConfig) -> None:
        """Raise for settings that cannot work.

        :param config: the settings of a host; unset ones are fine.
        :raises InvalidAPIUseError: naming the setting and the reason.
        """
        for own in proxy_route.own_settings(config):
            cls.check(own)
        client = f"{cls.__module__.rpartition('.')[0]}.{cls.__name__}"
        configuration.refuse_unsupported(config, cls._UNSUPPORTED, client)
        for name in configuration.ALGORITHM_SETTINGS:
            asked = getattr(config, name)
            known = cls.supported_algorithms(name) if asked else ()
            sign, names = algorithms.split_sign(asked) if asked else ("-", [])
            unknown = [each for each in names if each not in known] if sign != "-" else []
            if unknown:
                raise InvalidAPIUseError(
                    "%s: %s unknown to %s, which knows %s",
                    name,
                    ", ".join(unknown),
                    client,
                    ", ".join(known),
                )

    # The connection

    @property
    def user(self) -> str:
        """The user to log in as."""
        return self.config.user or self._resources.login_user()

    @property
    def port(self) -> int:
        """The host's port."""
        return self.config.port or DEFAULT_PORT

    @property
    def alias(self) -> str | None:
        """The host's alias."""
        return self.config.alias

    @property
    def session(self) -> Session | None:
        """The library's session, behind the seam; ``None`` while there is no connection."""
        return self._connection.session if self._connection is not None else None

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

    def _complete_settings(self) -> None:
        """Complete the settings, once.

        :raises SSHConfigError: when it is wrong.
        :raises InvalidAPIUseError: when it asks for what this client cannot do.
        """
        given = self._given
        if given is None:
            return
        assert given.ssh_config is not None
        found = self._settings_from(given.ssh_config, self.host, given)
        self.config = given.over(found).with_defaults()
        self._forwards_if_possible = given.forward_ssh_agent is None
        self._given = None

    def _new_connection(self, before_retry: Callable[[], object] | None) -> Connection:
        closed_before = self._times_closed
        forwarded = self._forwarded_agent()
        self._connector = gevent.getcurrent()
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

    def _end_connecting(self, connector: Any) -> None:
        """Runs in the loop."""
        if self._connector is connector:
            connector.throw(_Closed())

    def _closed_meanwhile(self) -> ConnectionLostError:
        return ConnectionLostError(
            "The client of host %s:%s was closed while it connected",
            self.host,
            self.port,
            host=self.host,
            port=self.port,
        )

    def _forwarded_agent(self) -> ForwardedAgent | None:
        """Return the agent that is forwarded to the host, ``None`` where none is to be.

        :raises InvalidAPIUseError: when there is no agent, and the program wants one.
        """
        config = self.config
        if not config.forward_ssh_agent:
            return None
        if config.agent is not None:
            agent_signing.require()
            return OwnAgent(config.agent)
        named = config.forward_ssh_agent
        path = config.identity_agent if isinstance(named, bool) else named
        agent = self._resources.agent(path)
        if agent is None and not self._forwards_if_possible:
            raise InvalidAPIUseError(
                "forward_ssh_agent needs an agent, and there is none for host %s: SSH_AUTH_SOCK "
                "is not set, and no other one is given (agent, identity_agent)",
                self.host,
                host=self.host,
                port=self.port,
            )
        return agent

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

    def _check_password(self) -> None:
        if self.config.keyboard_interactive and self.config.password is None:
            raise InvalidAPIUseError(
                "keyboard_interactive answers prompts with password, and host %s has none",
                self.host,
                host=self.host,
            )

    def _target(self) -> Target:
        config, resources = self.config, self._resources
        policy = config.host_key_policy or "accept-new"
        hostname = config.hostname or self.host
        alias = config.host_key_alias
        offered_host_keys = self._offered_host_keys()
        host_keys = config.host_key_algorithms
        if host_keys and algorithms.split_sign(host_keys)[0] in ("+", "-"):
            # Of what is left of ours, or added to it, those on record come first as ever.
            offered_host_keys = algorithms.choose(host_keys, offered_host_keys, offered_host_keys)
            host_keys = None
        return Target(
            host=self.host,
            port=self.port,
            hostname=hostname,
            # An alias stands for the host with its port (ssh_config(5), HostKeyAlias).
            key_name=(alias, DEFAULT_PORT) if alias else (hostname, self.port),
            credentials=self._credentials(),
            algorithms=Algorithms(
                ciphers=_names(config.ciphers),
                macs=_names(config.macs),
                kex=_names(config.kex_algorithms),
                host_keys=_names(host_keys),
                public_keys=self._public_keys(),
                compress=bool(config.compress),
            ),
            host_key_algorithms=offered_host_keys,
            known_hosts=(
                None if policy == "ignore" else resources.known_hosts(config.known_hosts or ())
            ),
            host_key_policy=policy,
            timeout=config.timeout or None,
            attempts=config.num_retries or 1,
            retry_delay=config.retry_delay or 0,
            keepalive=float(config.keepalive_seconds or 0),
            keepalive_count_max=config.keepalive_count_max or 0,
            connect_timeout=config.connect_timeout or None,
        )

    def _public_keys(self) -> tuple[str, ...] | None:
        """Return the algorithms that keys may sign with; ``None`` for all."""
        asked = self.config.public_key_algorithms
        if asked is None:
            return None
        return tuple(algorithms.choose(asked, algorithms.PUBLIC_KEYS, algorithms.PUBLIC_KEYS))

    def _credentials(self) -> Credentials:
        """Gather what there is to show to the server."""
        config, resources = self.config, self._resources
        key = resources.key(config.private_key) if config.private_key is not None else None
        own_agent = config.agent if config.allow_agent else None
        identity_files = self.IDENTITIES if config.identity_files is None else config.identity_files
        return Credentials(
            user=self.user,
            gssapi=self._gssapi(),
            certificate=(
                resources.certificate(config.cert_file, key)
                if config.cert_file is not None
                else None
            ),
            key=key,
            agent=(
                resources.agent(config.identity_agent)
                if config.allow_agent and own_agent is None
                else None
            ),
            agent_keys=own_agent.get_keys() if own_agent is not None else (),
            identity_files=_paths(identity_files) if config.identity_auth else (),
            identities_only=bool(config.identities_only),
            certificate_files=_paths(config.certificate_files or ()),
            algorithms=self._public_keys(),
            password=config.password,
            keyboard_interactive=bool(config.keyboard_interactive),
        )

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

    def _next_hop(self) -> Hop | None:
        """Return the host in between, which OpenSSH's configuration may know more of."""
        if self._inherited is None:
            return proxy_route.next_hop(self.config)
        hop = proxy_route.next_hop(self.config, self._openssh_hop_config)
        if hop is not None and hop.key() in self._leads_to:
            raise SSHConfigError(
                "In OpenSSH's configuration host %s is reached through itself (ProxyJump): "
                "leave it out there with !%s",
                hop.host,
                hop.host,
                host=self.host,
                port=self.port,
            )
        return hop

    def _openssh_hop_config(self, name: HopName, own: HostConfig) -> HostConfig:
        """Make the settings of a host on the way.

        What is said of it goes first, and then what the configuration says of it; the rest is
        as for the target, as far as the program has said that.
        """
        assert self._inherited is not None
        said = HostConfig(user=name.user, port=name.port).over(own)
        source = said.ssh_config if said.ssh_config is not None else self._inherited.ssh_config
        if source:
            said = said.over(self._settings_from(source, name.host, said))
        return said.over(self._inherited).with_defaults()

    def _settings_from(
        self, source: bool | str | os.PathLike[str], host: str, given: HostConfig
    ) -> HostConfig:
        configuration = self._resources.openssh_config(source)
        with Deadline(self.config.timeout, self.host, self.port, "read OpenSSH's configuration"):
            found = configuration.settings(host, given, self.supported_algorithms)
        self.check(found)
        return found

    def _gssapi(self) -> GSSAPI | None:
        config = self.config
        # As in 2.x, whoever names an identity wants Kerberos.
        named = config.gssapi_server_identity or config.gssapi_client_identity
        if not config.gssapi_auth and not named:
            return None
        return GSSAPI(
            server_identity=config.gssapi_server_identity or self.host,
            client_identity=config.gssapi_client_identity,
            delegate_credentials=bool(config.gssapi_delegate_credentials),
        )

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
        stood = self._connection is not None and self._connection.alive
        connection = self.connect()
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


class _Closed(BaseException):
    """Ends an attempt to connect. Not an error: nobody may think of trying again."""


#: How often a server is asked again for a session when one has just ended.
_ASK_AGAIN_MAX = 20


def _open_session(connection: Connection) -> Channel:
    """Open a session channel, if need be after those that are about to end have ended."""
    if connection.ending and "dropbear" in connection.session.server_version().lower():
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


def _paths(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return tuple(os.fspath(path) for path in several)


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
