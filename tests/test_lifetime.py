"""`pssh.clients.base.lifetime`: who may use a connection, and what anybody else is told."""

from __future__ import annotations

import threading

import pytest

from pssh.clients.base.lifetime import Lifetime, get_ident
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError


def test_usable_where_it_began() -> None:
    lifetime = Lifetime("host", 22)
    assert lifetime.is_here
    assert lifetime.usable_in == get_ident()
    lifetime.check()


def test_not_in_another_thread() -> None:
    lifetime = Lifetime("web1", 22)
    found: list[BaseException] = []

    def use() -> None:
        try:
            lifetime.check()
        except InvalidAPIUseError as ex:
            found.append(ex)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "web1 belongs to the thread that opened it" in str(found[0])


def test_closed() -> None:
    lifetime = Lifetime("web1", 22)
    lifetime.close()
    assert lifetime.usable_in == 0
    assert lifetime.is_here
    with pytest.raises(ConnectionLostError, match="web1:22 has been closed by this") as found:
        lifetime.check()
    assert (found.value.host, found.value.port) == ("web1", 22)


def test_lost_to_an_error_of_the_system() -> None:
    lifetime = Lifetime("web1", 22)
    reason = OSError("cable")
    lifetime.lose(reason)
    assert lifetime.usable_in == 0
    with pytest.raises(ConnectionLostError, match="web1:22 was lost: cable") as found:
        lifetime.check()
    assert found.value.__cause__ is reason


def test_each_who_asks_gets_an_error_of_his_own() -> None:
    lifetime = Lifetime("web1", 22)
    reason = ConnectionLostError("The bastion has gone", host="bastion", port=2222)
    lifetime.lose(reason)
    first, second = lifetime.error(), lifetime.error()
    assert first is not second
    assert str(first) == str(second) == "The bastion has gone"
    assert (first.host, first.port) == ("web1", 22)
    assert (reason.host, reason.port) == ("bastion", 2222)
