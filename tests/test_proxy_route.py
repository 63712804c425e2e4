"""Which hosts a way leads through, and with which settings."""

from __future__ import annotations

from typing import Any

import pytest

from pssh import proxy_route
from pssh.config import HostConfig
from pssh.exceptions import InvalidAPIUseError
from pssh.proxy_route import HopName, parse


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bastion", HopName("bastion")),
        (" me@bastion:2222 ", HopName("bastion", "me", 2222)),
        ("me@corp@bastion", HopName("bastion", "me@corp")),
        ("[::1]", HopName("::1")),
        ("me@[fe80::1%eth0]:22", HopName("fe80::1%eth0", "me", 22)),
        ("2001:db8::1", HopName("2001:db8::1")),
    ],
)
def test_names(text: str, name: HopName) -> None:
    assert parse(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@bastion",
        "me@",
        "bastion:",
        "bastion:0",
        "bastion:70000",
        "bastion:ssh",
        "[::1",
        "[::1]22",
        "[]:22",
        "two words",
        "bastion:²",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidAPIUseError, match="proxy_jump"):
        parse(text)
    with pytest.raises(InvalidAPIUseError, match="proxy_jump"):
        proxy_route.check(HostConfig(proxy_jump=[text or " "]))


def way(**settings: Any) -> list[tuple[str, int, str | None]]:
    """The hosts on a way, the first one first."""
    config = HostConfig(**{"user": "me", "port": 2200, **settings}).with_defaults()
    proxy_route.check(config)
    hops = list(proxy_route.hops(config))
    return [(hop.host, hop.port, hop.config.user) for hop in reversed(hops)]


def test_ways() -> None:
    assert way() == way(proxy_jump="none") == way(proxy_command="None") == []
    assert way(proxy_host="b") == [("b", 2200, "me")]
    assert way(proxy_host="b", proxy_port=1, proxy_user="you") == [("b", 1, "you")]
    assert way(proxy_jump="b") == [("b", 22, "me")]
    assert way(proxy_jump="you@a:1,b,c:2") == [("a", 1, "you"), ("b", 22, "me"), ("c", 2, "me")]
    listed = ["a", ("b:3", HostConfig(user="you", port=4)), ("x@c", HostConfig(user="you"))]
    assert way(proxy_jump=listed) == [("a", 22, "me"), ("b", 3, "you"), ("c", 22, "x")]
    assert way(proxy_command="nc %h %p") == []


def test_what_a_hop_takes_from_the_target() -> None:
    agents = {"forward_ssh_agent": True, "alias": "web", "compress": True}
    of_the_user = {"timeout": 5, "password": "secret", "known_hosts": "k", "ciphers": ["x"]}
    config = HostConfig(proxy_jump="a,b", **agents, **of_the_user).with_defaults()  # type: ignore[arg-type]
    for hop in proxy_route.hops(config):
        for name, value in of_the_user.items():
            assert getattr(hop.config, name) == value
        assert hop.config.alias is None
        assert hop.config.forward_ssh_agent is False
        assert hop.config.compress is False


def test_a_certificate_goes_with_its_key() -> None:
    config = HostConfig(private_key="k", cert_file="c", proxy_jump="a").with_defaults()
    (hop,) = proxy_route.hops(config)
    assert (hop.config.private_key, hop.config.cert_file) == ("k", "c")
    jump = [("a", HostConfig(private_key="other"))]
    config = HostConfig(private_key="k", cert_file="c", proxy_jump=jump).with_defaults()
    (hop,) = proxy_route.hops(config)
    assert (hop.config.private_key, hop.config.cert_file) == ("other", None)


def test_the_first_hop_may_need_a_way_of_its_own() -> None:
    first = HostConfig(proxy_jump="outer:1")
    assert way(proxy_jump=[("a", first), "b"]) == [
        ("outer", 1, "me"),
        ("a", 22, "me"),
        ("b", 22, "me"),
    ]
    by_command = [("a", HostConfig(proxy_command="nc %h %p"))]
    config = HostConfig(proxy_jump=by_command).with_defaults()
    (hop,) = proxy_route.hops(config)
    assert proxy_route.command_words(hop.config, "a", 22, "me") == ["nc", "a", "22"]
    with pytest.raises(InvalidAPIUseError, match="proxy_jump in the settings of host b"):
        way(proxy_jump=["a", ("b", first)])


@pytest.mark.parametrize(
    "settings",
    [
        {"proxy_host": "a", "proxy_jump": "b"},
        {"proxy_host": "a", "proxy_command": "b"},
        {"proxy_jump": "a", "proxy_command": "b"},
        {"proxy_jump": "a", "proxy_user": "b"},
        {"proxy_command": "a", "proxy_port": 1},
    ],
    ids=str,
)
def test_what_makes_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidAPIUseError) as error:
        proxy_route.check(HostConfig(**settings).with_defaults())
    assert all(name in str(error.value) for name in settings)


def test_a_way_of_its_own_replaces_the_others() -> None:
    of_all = HostConfig(proxy_host="a", proxy_user="you").with_defaults()
    for own, expected in (
        (HostConfig(), "a"),
        (HostConfig(proxy_user="x"), "a"),
        (HostConfig(proxy_host="b"), "b"),
    ):
        (hop,) = proxy_route.hops(own.over(of_all))
        assert hop.host == expected
    for nothing in (HostConfig(proxy_jump="none"), HostConfig(proxy_command="none")):
        assert list(proxy_route.hops(nothing.over(HostConfig(proxy_host="a")))) == []


def test_who_shares_a_connection() -> None:
    def key(**settings: Any) -> object:
        hop = proxy_route.next_hop(HostConfig(**settings).with_defaults())
        assert hop is not None
        return hop.key()

    same = key(proxy_host="a")
    assert hash(same) is not None
    assert key(proxy_host="a", timeout=5, alias="x", num_retries=9) == same
    assert key(proxy_host="a", known_hosts=["x"]) == key(proxy_host="a", known_hosts=("x",))
    for other in (
        {"proxy_host": "b"},
        {"proxy_host": "a", "proxy_user": "me"},
        {"proxy_host": "a", "password": "x"},
        {"proxy_host": "a", "host_key_policy": "ignore"},
        {"proxy_jump": "b,a"},
    ):
        assert key(**other) != same
    assert key(proxy_jump="b,c,a") != key(proxy_jump="c,b,a")
