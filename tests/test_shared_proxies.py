"""`pssh.clients.base.proxies`: who shares a connection to a host in between, and until when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pssh.clients.base.proxies import Proxies
from pssh.config import HostConfig
from pssh.proxy_route import Hop


class Client:
    """Of a host in between; its connection lives until it is told otherwise."""

    def __init__(self) -> None:
        self.connection: Any = SimpleNamespace(alive=True)
        self.closed = False

    def connect(self) -> Any:
        return self.connection

    def close(self) -> None:
        self.closed = True


def test_nobody_new_is_given_one_that_has_ended() -> None:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client())
        return made[-1]

    proxies, hop = Proxies(), Hop("bastion", HostConfig())
    first, second = proxies.lease(hop, make), proxies.lease(hop, make)
    assert first.proxy is second.proxy
    connection = first.proxy.connect()
    assert proxies.lease(hop, make).proxy is first.proxy
    made[0].connection.alive = False

    # Its users have not all noticed yet.
    third = proxies.lease(hop, make)

    assert third.proxy is not first.proxy
    assert third.proxy.connect() is not connection
    third.drop()
    assert [client.closed for client in made] == [False, True]
