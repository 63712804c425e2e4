"""`pssh.scp.command`: the remote command, and that a shell takes the path for what it is."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pssh.exceptions import InvalidAPIUseError
from pssh.scp.command import fetch_command, last_name, quote, send_command

HOME = b"/ho me"

#: The POSIX shells that are here; the first one is everywhere.
SHELLS = [name for name in ("sh", "bash", "dash", "ksh", "mksh", "zsh") if shutil.which(name)]

#: What a path may contain, with what has a meaning to a shell or to scp frequent.
PATHS = st.lists(
    st.one_of(
        st.sampled_from([b"~", b"/", b"-", b"'", b'"', b"\n", b" ", b"$HOME", b"`a`", b"\\", b"*"]),
        st.sampled_from([b"a", b".", b"..", b"=", b"!", b"#", b"&", b";", b"{a,b}", b"\xff"]),
        st.binary(min_size=1, max_size=4).map(lambda data: data.replace(b"\0", b"0")),
    ),
    min_size=1,
    max_size=8,
).map(b"".join)


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        (b"file", b"file"),
        (b"/a-b/c_d.e+f:g,h@i%j", b"/a-b/c_d.e+f:g,h@i%j"),
        (b"C:/Users/x", b"C:/Users/x"),
        (b"a b", b"'a b'"),
        (b"it's", b"'it'\"'\"'s'"),
        (b"a\nb", b"'a\nb'"),
        (b"\xff", b"'\xff'"),
        (b"*", b"'*'"),
        (b"=ls", b"'=ls'"),
        (b"~", b"~"),
        (b"~/", b"~/"),
        (b"~/a", b"~/a"),
        (b"~/a b", b"~/'a b'"),
        (b"~//a b", b"~/'/a b'"),
        (b"~user", b"~user"),
        (b"~us-er.2/a b", b"~us-er.2/'a b'"),
        (b"~$USER/a", b"'~$USER/a'"),
        (b"~a b", b"'~a b'"),
        (b"~+/a", b"'~+/a'"),
        (b"~1/a", b"'~1/a'"),
        (b"a/~", b"'a/~'"),
        (b"./~/a", b"'./~/a'"),
    ],
)
def test_quote(path: bytes, quoted: bytes) -> None:
    assert quote(path) == quoted


def test_options() -> None:
    assert send_command("f") == b"scp -t f"
    assert send_command("f", recursive=True, preserve=True, directory=True) == b"scp -r -p -d -t f"
    assert fetch_command("f") == b"scp -f f"
    assert fetch_command("f", recursive=True, preserve=True) == b"scp -r -p -f f"


def test_a_path_that_looks_like_an_option() -> None:
    assert send_command("-r") == b"scp -t -- -r"
    assert fetch_command("-a b") == b"scp -f -- '-a b'"


def test_paths_that_are_text() -> None:
    assert fetch_command("é") == b"scp -f '\xc3\xa9'"
    assert fetch_command("é", encoding="latin-1") == b"scp -f '\xe9'"
    assert send_command("a\udcff") == b"scp -t 'a\xff'"
    assert send_command(b"a\xff") == b"scp -t 'a\xff'"


@pytest.mark.parametrize("path", ["", b"", "a\0b", b"\0", "\ud800"])
def test_no_command_for_such_a_path(path: str | bytes) -> None:
    for function in (send_command, fetch_command, last_name):
        with pytest.raises(InvalidAPIUseError):
            function(path)
    with pytest.raises(InvalidAPIUseError, match="cannot be written in latin-1"):
        send_command("Ω", encoding="latin-1")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a", b"a"),
        ("/a/b/", b"b"),
        ("a//", b"a"),
        ("a\udcff", b"a\xff"),
        (b"x/ \n", b" \n"),
        ("~/a", b"a"),
        ("~$", b"~$"),
        ("a/~b", b"~b"),
        ("/", None),
        (".", None),
        ("a/.", None),
        ("../", None),
        ("~", None),
        ("~/", None),
        ("~user", None),
    ],
)
def test_last_name(path: str | bytes, name: bytes | None) -> None:
    assert last_name(path) == name


def arguments(shell: str, command: bytes) -> list[bytes]:
    """What a shell passes to scp."""
    script = b"scp() { printf '%s\\0' \"$@\"; }\n" + command
    environment = {"HOME": HOME, "PATH": os.environb[b"PATH"]}
    ran = subprocess.run(
        [shell.encode(), b"-c", script], env=environment, check=True, capture_output=True
    )
    assert ran.stderr == b""
    return ran.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_the_path_for_what_it_is(shell: str) -> None:
    @given(PATHS)
    @settings(max_examples=60, deadline=None)
    def check(path: bytes) -> None:
        expected = path
        if path == b"~" or path.startswith(b"~/"):
            expected = HOME + path[1:]
        elif quote(path).startswith(b"~"):
            return  # somebody's home folder, or nobody's
        options = [b"-r", b"-p", b"-d", b"-t"] + [b"--"] * path.startswith(b"-")
        command = send_command(path, recursive=True, preserve=True, directory=True)
        assert arguments(shell, command) == [*options, expected]

    check()


def test_a_shell_knows_the_users_home() -> None:
    root = arguments("/bin/sh", b"scp ~root")
    assert arguments("/bin/sh", fetch_command("~root/a b")) == [b"-f", root[0] + b"/a b"]
