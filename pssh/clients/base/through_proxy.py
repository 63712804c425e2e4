"""The way to a host through another one, over a channel of its connection."""

from __future__ import annotations

from collections.abc import Callable

from pssh.clients.base import pumps
from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.proxies import Lease, Proxies, ProxyClient
from pssh.clients.base.pump import Pump
from pssh.clients.base.seam import Channel, Destination
from pssh.clients.base.tcp import connect_error
from pssh.clients.base.transport import (
    Attempt,
    Final,
    Transport,
    TransportSocket,
    carried_pair,
)
from pssh.exceptions import (
    ConnectionLostError,
    ProxyConnectionLostError,
    ProxyError,
    ProxyTimeout,
    PSSHError,
    SessionError,
    Timeout,
)
from pssh.proxy_route import Hop

#: What servers refuse because of how they are set up (RFC 4254 section 5.1).
_FOR_EVER = ("administratively prohibited", "unknown channel type")


class ThroughProxy(Transport):
    """Has a host in between connect to the host (RFC 4254 section 7.2).

    :param proxies: the connections that are shared.
    :param hop: the host in between.
    :param make_client: makes a client for that.
    """

    def __init__(self, proxies: Proxies, hop: Hop, make_client: Callable[[], ProxyClient]) -> None:
        self._proxies = proxies
        self._hop = hop
        self._make_client = make_client
        self._lease: Lease | None = None

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.drop()

    def open(self, to: Attempt) -> TransportSocket:
        while True:
            lease = self._current_lease()
            stood = lease.proxy.stands
            try:
                connection = lease.proxy.connect()
            except PSSHError as ex:
                # It has been tried as often as the settings say.
                self._let_go()
                raise Final(self._unreachable(to, ex)) from ex
            try:
                channel = self._open_channel(connection, to)
            except ConnectionLostError as ex:
                self._let_go()
                # One that had ended unnoticed is no reason to fail: nothing has been started.
                if not stood:
                    raise self._lost(to.host, to.port, ex) from ex
                continue
            return self._join(connection, channel, lease, to)

    def _current_lease(self) -> Lease:
        if self._lease is not None and not self._lease.proxy.usable:
            self._let_go()
        if self._lease is None:
            self._lease = self._proxies.lease(self._hop, self._make_client)
        return self._lease

    def _open_channel(self, connection: Connection, to: Attempt) -> Channel:
        step = "connect through the proxy"
        try:
            with Deadline(to.timeout, to.host, to.port, step):
                return connection.open_direct_tcpip(Destination(to.hostname, to.port))
        except Timeout as ex:
            raise self._too_long(to, step) from ex
        except SessionError as ex:
            error = self._refused(to, ex)
            final = any(reason in str(ex) for reason in _FOR_EVER)
            raise (Final(error) if final else error) from ex

    def _join(
        self, connection: Connection, channel: Channel, lease: Lease, to: Attempt
    ) -> TransportSocket:
        """Let what the session will say go over the channel."""
        try:
            sock, other_end = carried_pair()
        except OSError as ex:
            connection.give_back(channel)
            raise connect_error(to, ex) from ex

        def ended(_: Pump) -> None:
            lease.drop()

        lease.hold()
        sock.carrier = pumps.start(connection, channel, other_end, ended)
        sock.explain = lambda error: self._lost(to.host, to.port, error)
        return sock

    # Errors

    def _unreachable(self, to: Attempt, error: PSSHError) -> ProxyError:
        """The host in between could not be connected to."""
        hop = self._hop
        kind = ProxyTimeout if isinstance(error, Timeout) else ProxyError
        inner = error if isinstance(error, ProxyError) and error.proxy_host else None
        made = kind(
            "Host %s:%s cannot be reached through proxy %s:%s: %s",
            to.host,
            to.port,
            hop.host,
            hop.port,
            error,
            host=to.host,
            port=to.port,
            proxy_host=inner.proxy_host if inner else hop.host,
            proxy_port=inner.proxy_port if inner else hop.port,
        )
        if isinstance(made, ProxyTimeout) and isinstance(error, Timeout):
            made.step = error.step
        made.__cause__ = error
        return made

    def _refused(self, to: Attempt, error: SessionError) -> ProxyError:
        """The host in between did not connect to the target."""
        hop = self._hop
        return ProxyError(
            "Host %s:%s cannot be reached through proxy %s:%s - %s - retry %s/%s",
            to.host,
            to.port,
            hop.host,
            hop.port,
            error,
            to.number,
            to.attempts,
            host=to.host,
            port=to.port,
            proxy_host=hop.host,
            proxy_port=hop.port,
        )

    def _too_long(self, to: Attempt, step: str) -> ProxyTimeout:
        hop = self._hop
        return ProxyTimeout(
            "Host %s:%s took longer than %s seconds to connect through proxy %s:%s",
            to.host,
            to.port,
            to.timeout,
            hop.host,
            hop.port,
            host=to.host,
            port=to.port,
            proxy_host=hop.host,
            proxy_port=hop.port,
            step=step,
        )

    def _lost(self, host: str, port: int, error: BaseException) -> ProxyConnectionLostError:
        hop = self._hop
        return ProxyConnectionLostError(
            "The connection to host %s:%s was lost with its proxy %s:%s: %s",
            host,
            port,
            hop.host,
            hop.port,
            error,
            host=host,
            port=port,
            proxy_host=hop.host,
            proxy_port=hop.port,
        )
