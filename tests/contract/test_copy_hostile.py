"""Copies over SFTP from and to servers that answer with nonsense, or that mean harm."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SFTPError, SFTPProtocolError
from tests.contract import copies
from tests.contract.conftest import Connect
from tests.contract.copies import (
    MEGABYTE,
    Connected,
    StopError,
    Way,
    content,
    content_below,
    eventually_closed,
    impatient,
    stop_at,
)
from tests.contract.test_buffers import resident
from tests.servers.faulty_sftp import Fault, FaultySFTPServer

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients
faulty = copies.faulty

SIZE = 3 * MEGABYTE

FILE = stat.S_IFREG | 0o644
FOLDER = stat.S_IFDIR | 0o755
LINK = stat.S_IFLNK | 0o777
PIPE = stat.S_IFIFO | 0o644

STATUS, HANDLE, DATA, NAME = 101, 102, 103, 104


def words(*values: int) -> str:
    """Numbers of 32 bits, in hexadecimal."""
    return struct.pack(f">{len(values)}I", *values).hex()


#: What is done in place of an answer, and what the error says of it.
NONSENSE: list[tuple[str, dict[str, Any], str]] = [
    ("other id", {}, "does not wait for an answer"),
    ("say", {"bytes": words(2**32 - 1)}, "announced a packet"),
    ("say", {"bytes": words(2**24)}, "announced a packet"),
    ("say", {"bytes": words(0)}, "announced a packet"),
    ("say", {"bytes": b"Welcome!\n".hex()}, "announced a packet"),
    ("reply", {"kind": 77, "body": words(0)}, "type 77"),
    ("reply", {"kind": STATUS, "body": ""}, "too early"),
    ("reply", {"kind": NAME, "body": words(1000, 1, 2)}, "SSH_FXP_NAME"),
]

FETCHING: list[tuple[Fault, str]] = [
    (Fault("READ", "data", 2, more=1), "were asked for"),
    (Fault("READ", "reply", 2, kind=DATA, body=words(0)), "no data"),
    (Fault("READ", "reply", 2, kind=DATA, body=words(100, 1)), "announces"),
    (Fault("READ", "reply", 2, kind=HANDLE, body=words(1) + "41"), "a handle"),
    (Fault("READ", "reply", 2, kind=STATUS, body=words(0, 0, 0)), "SSH_FX_OK"),
    (Fault("OPEN", "reply", kind=STATUS, body=words(0, 0, 0)), "SSH_FX_OK"),
    (Fault("OPEN", "reply", kind=HANDLE, body=words(300) + "41" * 300), "300"),
    (Fault("STAT", "reply", kind=HANDLE, body=words(1) + "41"), "a handle"),
    (Fault("INIT", "say", bytes=words(5) + "02" + words(2)), "version 2"),
    (Fault("INIT", "say", bytes=b"Hello!\n".hex()), "login script"),
]


@pytest.mark.parametrize("step", ["open", "transfer", "end"])
def test_nonsense(connected: Connected, faulty: FaultySFTPServer, way: Way, step: str) -> None:
    kinds = {"transfer": "WRITE", "end": "FSETSTAT"}
    if not way.is_put:
        kinds = {"transfer": "READ", "end": "FSTAT"}
    way.write("original", content(SIZE))
    client = connected(faulty)
    for do, values, said in NONSENSE:
        number = 3 if step == "transfer" else 1
        faulty.plan(Fault(kinds.get(step, "OPEN"), do, number, **values))
        with impatient(client, 10) as sftp:
            with pytest.raises(SFTPProtocolError, match=said) as caught:
                way.copy(client, "original", "copy", sftp=sftp)
            assert caught.value.host == client.host
            assert f"{client.host}:{client.port}" in str(caught.value)
            with pytest.raises(SFTPError):
                sftp.stat("/")
        assert way.is_put or os.listdir(way.target) == []
    way.assert_nothing_is_open()
    assert list(client.run_command("echo here").stdout or ()) == ["here"]


def test_nonsense_for_what_is_fetched(
    connect: Connect, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "original").write_bytes(content(SIZE))
    client = connect(faulty, timeout=10)
    for fault, said in FETCHING:
        faulty.plan(fault)
        with pytest.raises(SFTPError, match=said) as caught:
            client.copy_remote_file(f"{remote_folder}/original", tmp_path / "copy")
        assert caught.value.host == client.host
        assert os.listdir(tmp_path) == []
    assert copies.open_here(tmp_path) == []
    eventually_closed(remote_folder)


# Odd, but allowed


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault("READ", "data", last=None, at_most=5000)], id="little at a time"),
        pytest.param([Fault("READ", "hold", 2, replies=3)], id="in another order"),
        pytest.param([Fault("INIT", "extensions", without=["limits@openssh.com"])], id="no limits"),
        pytest.param([Fault("EXTENDED", "refuse", code=8)], id="limits are not known after all"),
        pytest.param([Fault("EXTENDED", "ignore")], id="limits are never told"),
        pytest.param([Fault("WRITE", "hold", 2, replies=3)], id="writes in another order"),
    ],
)
def test_odd_servers(
    connected: Connected, faulty: FaultySFTPServer, way: Way, faults: Sequence[Fault]
) -> None:
    faulty.plan(*faults)
    way.write("original", content(SIZE))
    way.copy(connected(faulty), "original", "copy")
    assert (way.target / "copy").read_bytes() == content(SIZE)
    way.assert_nothing_is_open()


def test_a_file_that_is_shorter_than_the_server_says(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "original").write_bytes(content(SIZE))
    client = connected(faulty)
    before = resident()
    for size in (SIZE + 1, 2**40, 2**63 - 1, 2**64 - 1):
        faulty.plan(
            Fault("STAT", "attributes", last=None, size=size),
            Fault("FSTAT", "attributes", last=None, size=size),
        )
        with pytest.raises(SFTPError, match="shorter") as caught:
            client.copy_remote_file(f"{remote_folder}/original", tmp_path / "copy")
        assert f"{remote_folder}/original" in str(caught.value)
        assert os.listdir(tmp_path) == []
    assert resident() - before < 64 * MEGABYTE


def test_a_file_that_is_longer_than_the_server_says(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    faulty.plan(Fault("STAT", "attributes", last=None, size=SIZE - 1))
    (remote_folder / "original").write_bytes(content(SIZE))
    with pytest.raises(SFTPError, match="changed"):
        connected(faulty).copy_remote_file(f"{remote_folder}/original", tmp_path / "copy")
    assert os.listdir(tmp_path) == []


# Names


#: None of these is the name of something in a directory.
EVIL = ["../evil", "/tmp/evil", "deep/evil", "deep/../../evil", "", "evil\0", "/"]


@pytest.mark.parametrize("mode", [FILE, FOLDER, LINK])
def test_names_that_lead_out(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path, mode: int
) -> None:
    (remote_folder / "good").write_bytes(b"content")
    (remote_folder / "deep").mkdir()
    target = tmp_path / "below/copy"
    client = connected(faulty)
    with_dots = [("good", FILE), (".", mode), ("..", mode)]
    faulty.plan(Fault("READDIR", "names", names=with_dots))
    # Every listing has these.
    client.copy_remote_file(str(remote_folder), target, recurse=True)
    assert content_below(target) == {"good": b"content"}
    for name in EVIL:
        faulty.plan(Fault("READDIR", "names", names=[("good", FILE), (name, mode)]))
        with pytest.raises(SFTPError, match="no file name") as caught:
            client.copy_remote_file(str(remote_folder), target, recurse=True)
        assert caught.value.host == client.host
        assert ("evil" in name) == ("evil" in str(caught.value))
    assert content_below(tmp_path).keys() <= {"below", "below/copy", "below/copy/good"}
    assert not Path("/tmp/evil").exists()
    eventually_closed(remote_folder)


def test_a_name_that_is_both_a_file_and_a_directory(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    names = [("deep", FOLDER), ("deep", FILE), ("deep", LINK)]
    faulty.plan(Fault("READDIR", "names", names=names))
    (remote_folder / "deep").write_bytes(b"content")
    with pytest.raises((SFTPError, OSError)):
        connected(faulty).copy_remote_file(str(remote_folder), tmp_path / "copy", recurse=True)
    assert content_below(tmp_path).keys() <= {"copy", "copy/deep"}
    assert copies.open_here(tmp_path) == []


def test_types_that_are_not_true(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "file").write_bytes(b"content")
    (remote_folder / "folder").mkdir()
    for names in ([("file", FOLDER)], [("folder", FILE)]):
        faulty.plan(Fault("READDIR", "names", names=names))
        with pytest.raises(SFTPError) as caught:
            connected(faulty).copy_remote_file(str(remote_folder), tmp_path / "copy", recurse=True)
        assert f"{remote_folder}/{names[0][0]}" in str(caught.value)


def test_types_that_are_not_told(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    faulty.plan(Fault("READDIR", "names", names=[("file", 0o644), ("folder", 0o755)]))
    (remote_folder / "file").write_bytes(b"content")
    (remote_folder / "folder").mkdir()
    connected(faulty).copy_remote_file(str(remote_folder), tmp_path / "copy", recurse=True)
    assert content_below(tmp_path / "copy") == {"file": b"content", "folder": None}


# Without end


def test_a_listing_without_end(
    connected: Connected,
    faulty: FaultySFTPServer,
    tmp_path: Path,
    remote_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL", "pssh")  # pytest keeps what is logged
    names = [(f"#-{number}", PIPE) for number in range(100)]
    faulty.plan(
        Fault("READDIR", "names", 1, 300, names=names),
        Fault("READDIR", "names", 301, None, names=[("file", FILE)]),
    )
    (remote_folder / "file").write_bytes(b"content")
    client = connected(faulty)
    before = resident()
    # Nobody can know that a listing has no end, but it can be left, and takes no memory.
    with client.open_sftp() as sftp:
        with pytest.raises(StopError):
            client.copy_remote_file(
                str(remote_folder), tmp_path / "copy", True, sftp, progress=stop_at(1)
            )
        assert resident() - before < 32 * MEGABYTE
        eventually_closed(remote_folder)
    assert copies.open_here(tmp_path) == []


def test_an_empty_answer_ends_a_listing(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    faulty.plan(Fault("READDIR", "names", last=None, names=[]))
    connected(faulty).copy_remote_file(str(remote_folder), tmp_path / "copy", recurse=True)
    assert os.listdir(tmp_path / "copy") == []


def test_directories_without_end(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / ("d/" * 300)).mkdir(parents=True)
    with client.open_sftp() as sftp:
        with pytest.raises(SFTPError, match=r"d/d/d.* nested too deeply") as caught:
            client.copy_remote_file(str(remote_folder), tmp_path / "copy", True, sftp)
        assert caught.value.host == client.host
        eventually_closed(remote_folder)


# The same server, and others


def test_another_session_is_not_affected(
    connected: Connected, faulty: FaultySFTPServer, way: Way
) -> None:
    way.write("original", content(SIZE))
    client: BaseSSHClient = connected(faulty)
    good = client.open_sftp()
    faulty.plan(Fault("WRITE" if way.is_put else "READ", "other id"))
    with good:
        with pytest.raises(SFTPProtocolError):
            way.copy(client, "original", "bad")
        way.copy(client, "original", "good", sftp=good)
    assert (way.target / "good").read_bytes() == content(SIZE)
