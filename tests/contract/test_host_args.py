"""`host_args`: a command for each host, or an error before anything has started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pssh.exceptions import HostArgumentError
from tests.contract.conftest import ConnectAll
from tests.contract.outputs import lines
from tests.servers.cut_proxy import CutProxy


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        pytest.param("echo %s %s", [("a", "1"), ("b", "2")], id="tuples"),
        pytest.param("echo %s %s", (["a", "1"], ["b", "2"]), id="lists"),
        pytest.param("echo %(x)s %(y)s", [{"x": "a", "y": "1"}, {"y": "2", "x": "b"}], id="dicts"),
        pytest.param("echo %s", ["a 1", "b 2"], id="single values"),
        pytest.param("echo %s %d", [("a", 1), ("b", 2), ("c", 3)], id="more than hosts"),
        pytest.param("echo %s $((200 %% 199 + %d))", [("a", 0), ("b", 1)], id="percent signs"),
    ],
)
def test_host_args(connect_all: ConnectAll, command: str, arguments: Sequence[Any]) -> None:
    outputs = connect_all(2).run_command(command, host_args=arguments)
    assert [lines(output) for output in outputs] == [["a 1"], ["b 2"]]


def test_without_host_args_percent_signs_stay(connect_all: ConnectAll) -> None:
    outputs = connect_all(2).run_command("echo 100% %s %%")
    assert [lines(output) for output in outputs] == [["100% %s %%"]] * 2


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        pytest.param("echo %s", [("a",)], HostArgumentError, id="fewer than hosts"),
        pytest.param("echo %s", [], HostArgumentError, id="none"),
        pytest.param("echo %s %s", [("a", "b"), ("a",)], TypeError, id="a missing value"),
        pytest.param("echo %s", [("a",), ("a", "b")], TypeError, id="a value too many"),
        pytest.param("echo %(x)s", [{"x": "a"}, {"y": "a"}], KeyError, id="a missing key"),
        pytest.param("echo %(x)s", [{"x": "a"}, ("a",)], TypeError, id="no dict"),
    ],
)
def test_errors_before_anything_has_started(
    connect_all: ConnectAll,
    proxy: CutProxy,
    command: str,
    arguments: Sequence[Any],
    error: type[Exception],
) -> None:
    client = connect_all(2, port=proxy.port, host_key_policy="ignore")
    for stop_on_errors in (True, False):
        with pytest.raises(error):
            client.run_command(command, host_args=arguments, stop_on_errors=stop_on_errors)
    assert proxy.accepted == 0
    assert client.cmds is None
    assert client.get_last_output() is None


def test_an_error_leaves_the_last_output(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command("echo x")
    with pytest.raises(HostArgumentError):
        client.run_command("echo %s", host_args=[])
    assert client.get_last_output() == outputs
    assert [lines(output) for output in outputs] == [["x"]] * 2
