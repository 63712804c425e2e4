"""`pssh.command_line`: what is sent; a real shell says whether the quoting is right."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pssh.command_line import commands_for_hosts, fully_qualified_command
from pssh.exceptions import HostArgumentError, InvalidAPIUseError

#: What a command may contain: anything but NUL (and what UTF-8 cannot say).
COMMANDS = st.text(
    alphabet=st.one_of(
        st.sampled_from("'\"\\$`!*?#~&|;<>(){}[] \t\n\r%=-"),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    )
)


@given(COMMANDS)
@settings(max_examples=100, deadline=None)
def test_a_shell_gets_the_command_as_it_was(command: str) -> None:
    line = fully_qualified_command(command, shell="printf %s")
    printed = subprocess.run(["/bin/sh", "-c", line], check=True, capture_output=True).stdout
    assert printed == command.encode()


@given(COMMANDS.filter(bool))
@settings(max_examples=50, deadline=None)
def test_a_shell_gets_the_user_name_as_it_was(user: str) -> None:
    line = fully_qualified_command("id", user=user)
    shown = subprocess.run(
        [b"/bin/sh", b"-c", b'sudo() { printf %s "$3"; }; ' + line],
        check=True,
        capture_output=True,
    )
    assert shown.stdout == user.encode()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "$SHELL -c 'id'"),
        ({"shell": "bash -c"}, "bash -c 'id'"),
        ({"sudo": True}, "sudo -S $SHELL -c 'id'"),
        ({"user": "u"}, "sudo -S -u u $SHELL -c 'id'"),
        ({"sudo": True, "user": "u"}, "sudo -S -u u $SHELL -c 'id'"),
        ({"sudo": True, "user": "u", "shell": "sh -c"}, "sudo -S -u u sh -c 'id'"),
        ({"replace_login_shell": True}, "exec $SHELL -c 'id'"),
        ({"replace_login_shell": True, "sudo": True}, "exec sudo -S $SHELL -c 'id'"),
        ({"replace_login_shell": True, "shell": "a=b sh -c"}, "a=b sh -c 'id'"),
        ({"sudo": True, "sudo_prompt": "[a b]"}, "sudo -S -p '[a b]' $SHELL -c 'id'"),
        ({"sudo": True, "sudo_wrapper": "env"}, "sudo -S env $SHELL -c 'id'"),
        (
            {"user": "u", "sudo_prompt": "p", "sudo_wrapper": "w"},
            "sudo -S -p p -u u w $SHELL -c 'id'",
        ),
    ],
)
def test_forms(options: dict[str, Any], expected: str) -> None:
    assert fully_qualified_command("id", **options) == expected.encode()


def test_quotes() -> None:
    assert fully_qualified_command("a'b") == b"""$SHELL -c 'a'"'"'b'"""


def test_encoding() -> None:
    assert fully_qualified_command("é", encoding="latin-1") == b"$SHELL -c '\xe9'"
    with pytest.raises(UnicodeEncodeError):
        fully_qualified_command("€", encoding="latin-1")


def test_nul() -> None:
    with pytest.raises(InvalidAPIUseError, match="NUL"):
        fully_qualified_command("a\0b")
    with pytest.raises(InvalidAPIUseError, match="NUL"):
        fully_qualified_command("a", user="root\0")
    with pytest.raises(InvalidAPIUseError, match="NUL"):
        fully_qualified_command("a", shell="sh -c\0")


# host_args


@given(st.text(), st.integers(min_value=0, max_value=5))
def test_without_arguments_nothing_is_substituted(command: str, hosts: int) -> None:
    assert commands_for_hosts(command, hosts) == [command] * hosts


@given(st.lists(st.text(), min_size=1), st.data())
def test_each_host_gets_its_own(values: list[str], data: st.DataObject) -> None:
    hosts = data.draw(st.integers(min_value=0, max_value=len(values)))
    for arguments in (values, [(value,) for value in values], [[value] for value in values]):
        assert commands_for_hosts("a %s b", hosts, arguments) == [
            f"a {value} b" for value in values[:hosts]
        ]
    assert commands_for_hosts("%(x)s", hosts, [{"x": value} for value in values]) == values[:hosts]


def test_number_of_arguments() -> None:
    with pytest.raises(HostArgumentError, match="1 arguments for 2 hosts"):
        commands_for_hosts("%s", 2, ["a"])
    with pytest.raises(TypeError):
        commands_for_hosts("%s %s", 1, [("a",)])
    with pytest.raises(TypeError):
        commands_for_hosts("%s", 1, [("a", "b")])
    with pytest.raises(KeyError):
        commands_for_hosts("%(x)s", 1, [{"y": 1}])


def test_arguments_may_come_from_a_generator() -> None:
    assert commands_for_hosts("%s", 2, (str(n) for n in range(2))) == ["0", "1"]  # type: ignore[arg-type]
