"""`pssh.local_path`: no name from a server leads out of the folder that it goes to."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.exceptions import SCPError, SFTPError
from pssh.local_path import (
    DIRECTORY_FLAGS,
    READ_FLAGS,
    WRITE_FLAGS,
    EntryKind,
    check_link,
    describe,
    entry_kind,
    is_safe_name,
    is_within,
    join,
)

NAMES = st.one_of(
    st.lists(st.sampled_from([".", "/", "\0", "a", "\n", "\\", "é"]), max_size=5).map("".join),
    st.text(max_size=5),
)
UNSAFE = ["", ".", "..", "/", "/etc/passwd", "a/b", "a/", "../a", "a\0", "\0"]


@pytest.mark.parametrize("name", [*UNSAFE, *map(str.encode, UNSAFE), "\ud800"])
def test_unsafe_names(name: str | bytes) -> None:
    assert not is_safe_name(name)
    with pytest.raises(SFTPError, match="which is no file name"):
        join("/target", name)
    with pytest.raises(SCPError):
        join("/target", name, SCPError)


@pytest.mark.parametrize("name", ["a", "...", ".a", "..a", " ", "\n", "~", "-r", "a\\b", "\udcff"])
def test_safe_names(name: str) -> None:
    assert is_safe_name(name)
    assert is_safe_name(os.fsencode(name))
    assert join("/target", name) == "/target/" + name
    assert join("/target", os.fsencode(name)) == "/target/" + name


def test_folders() -> None:
    assert join("", "a") == "a"
    assert join("/", "a") == "/a"
    assert join("b/", "a") == "b/a"


@given(st.one_of(NAMES, NAMES.map(lambda name: name.encode("utf-8", "replace"))))
def test_a_joined_path_is_right_below_the_folder(name: str | bytes) -> None:
    try:
        path = join("/x/target", name)
    except SFTPError:
        assert not is_safe_name(name)
        return
    assert is_safe_name(name)
    assert "\0" not in path
    assert os.path.dirname(os.path.normpath(path)) == "/x/target"
    assert os.path.basename(path) == os.fsdecode(name)


def test_undecodable_names_stay_as_they_are(tmp_path: Path) -> None:
    name = b"\xff \n'"
    Path(join(str(tmp_path), name)).touch()
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        found = {path.name: path.lstat().st_mode for path in tmp_path.iterdir()}
    found["device"] = os.stat("/dev/null").st_mode
    found["block device"] = stat.S_IFBLK | 0o600
    found["unknown"] = 0o644
    assert {name: (entry_kind(mode), describe(mode)) for name, mode in found.items()} == {
        "file": (EntryKind.FILE, "a regular file"),
        "directory": (EntryKind.DIRECTORY, "a directory"),
        "link": (EntryKind.LINK, "a symbolic link"),
        "pipe": (EntryKind.OTHER, "a named pipe"),
        "socket": (EntryKind.OTHER, "a socket"),
        "device": (EntryKind.OTHER, "a character device"),
        "block device": (EntryKind.OTHER, "a block device"),
        "unknown": (EntryKind.OTHER, "of an unknown type"),
    }


def test_flags(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").symlink_to(outside / "file")
    (target / "new").symlink_to(outside / "new")
    (target / "directory").symlink_to(outside)
    os.mkfifo(target / "pipe")
    for name in ("file", "new"):
        with pytest.raises(OSError, match="symbolic links"):
            os.open(target / name, WRITE_FLAGS)
    with pytest.raises(NotADirectoryError):
        os.open(target / "directory", DIRECTORY_FLAGS)
    with pytest.raises(OSError, match="No such device"):
        os.open(target / "pipe", WRITE_FLAGS)
    os.close(os.open(target / "pipe", READ_FLAGS))
    folder = os.open(target, DIRECTORY_FLAGS)
    os.close(os.open("plain", WRITE_FLAGS, 0o600, dir_fd=folder))
    os.close(folder)
    assert (target / "plain").exists()
    assert [path.name for path in outside.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("folder", "path", "within"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", True),
        ("/a", "/ab", False),
        ("/a", "/", False),
        ("/a/b", "/a", False),
        ("/", "/a", True),
        ("/", "/", True),
    ],
)
def test_within(folder: str, path: str, within: bool) -> None:
    assert is_within(folder, path) is within


def test_links_out_of_the_target() -> None:
    check_link("/target", "/target/link", "/target/releases/5")
    with pytest.raises(SCPError, match=r"/target/link leads to /etc, out of /target: nothing"):
        check_link("/target", "/target/link", "/etc", SCPError)
    with pytest.raises(SFTPError):
        check_link("/target", "/target/link", "/target2")
