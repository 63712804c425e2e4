"""known_hosts: reading, looking up, checking and adding keys; `ssh-keygen` is the yardstick."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import hmac
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pssh import known_hosts
from pssh.known_hosts import (
    HostKeyStatus,
    KnownHostsIndex,
    append,
    fingerprint,
    format_line,
    load,
    lookup_name,
    parse,
)

ROOT = Path(__file__).resolve().parent.parent
SSH_KEYGEN = shutil.which("ssh-keygen")
needs_ssh_keygen = pytest.mark.skipif(SSH_KEYGEN is None, reason="ssh-keygen is not installed")

KNOWN, UNKNOWN = HostKeyStatus.KNOWN, HostKeyStatus.UNKNOWN
CHANGED, REVOKED = HostKeyStatus.CHANGED, HostKeyStatus.REVOKED


def ssh_strings(*strings: bytes) -> bytes:
    return b"".join(len(string).to_bytes(4, "big") + string for string in strings)


def ed25519(seed: int = 0) -> bytes:
    return ssh_strings(b"ssh-ed25519", random.Random(seed).randbytes(32))


def rsa(modulus: bytes) -> bytes:
    return ssh_strings(b"ssh-rsa", b"\x01\x00\x01", modulus)


def ecdsa(point: bytes) -> bytes:
    return ssh_strings(b"ecdsa-sha2-nistp256", b"nistp256", point)


ED25519, ED25519_B, ED25519_C = ed25519(1), ed25519(2), ed25519(3)
RSA = rsa(b"\0\xc5" + random.Random(4).randbytes(255))
ECDSA = ecdsa(b"\x04" + random.Random(5).randbytes(63) + b"\x07")


def type_of(key: bytes) -> bytes:
    return key[4 : 4 + int.from_bytes(key[:4], "big")]


def line(hosts: str | bytes, key: bytes = ED25519, marker: str = "") -> bytes:
    """A line as an editor would make it, with nothing checked."""
    names = hosts.encode() if isinstance(hosts, str) else hosts
    mark = marker.encode() + b" " if marker else b""
    return mark + names + b" " + type_of(key) + b" " + base64.b64encode(key) + b"\n"


def hashed(name: str, salt: bytes) -> str:
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def index_of(*lines: bytes) -> KnownHostsIndex:
    index = KnownHostsIndex()
    index.add_file("kh", b"".join(lines), None)
    return index


def found(index: KnownHostsIndex, host: str, port: int = 22) -> list[int]:
    return [entry.line for entry in index.lookup(host, port)]


def status(
    index: KnownHostsIndex, key: bytes, host: str = "host", port: int = 22
) -> tuple[HostKeyStatus, int | None]:
    """What checking a key says, and the number of the line that it names."""
    check = index.check(host, port, type_of(key).decode(), key)
    return check.status, check.entry.line if check.entry else None


# Reading lines


def test_an_entry_holds_the_key_and_where_it_stands() -> None:
    (entry,) = parse(b"# first\n\n" + line("host,10.0.0.1", RSA), "/some/known_hosts")
    assert (entry.key_type, entry.key, entry.revoked) == ("ssh-rsa", RSA, False)
    assert (entry.path, entry.line, entry.hosts) == ("/some/known_hosts", 3, b"host,10.0.0.1")


def test_entries_cannot_be_changed() -> None:
    (entry,) = parse(line("host"), "kh")
    with pytest.raises(AttributeError):
        entry.revoked = True  # type: ignore[misc]
    assert not hasattr(entry, "__dict__")


@pytest.mark.parametrize("ignored", [b"", b"  \t ", b"# host", b" \t# host", b"\r"])
def test_blank_lines_and_comments_are_passed_over_silently(
    ignored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pssh")
    assert found(index_of(ignored + b"\n", line("host")), "host") == [2]
    assert caplog.messages == []


BASE64 = base64.b64encode(ED25519)
MALFORMED = {
    "no key": b"host ssh-ed25519",
    "names only": b"host",
    "an unknown marker": b"@trusted " + line("host"),
    "two markers": b"@revoked @revoked " + line("host"),
    "a marker that touches the name": b"@revokedhost ssh-ed25519 " + BASE64,
    "a key of another type": b"host ssh-rsa " + BASE64,
    "a key whose type is written differently": b"host SSH-ED25519 " + BASE64,
    "a foreign character in the key": b"host ssh-ed25519 " + BASE64[:9] + b"-" + BASE64[9:],
    "a key without its padding": b"host ecdsa-sha2-nistp256 "
    + base64.b64encode(ECDSA).rstrip(b"="),
    "a key that was cut off": b"host ssh-ed25519 " + BASE64[:-8],
    "a key that was cut off after a number": b"host ssh-rsa "
    + base64.b64encode(ssh_strings(b"ssh-rsa", b"\x01\x00\x01" * 3)),
    "bytes after the key": b"host ssh-ed25519 " + base64.b64encode(ED25519 + b"\0"),
    "a key that is a type only": b"host x " + base64.b64encode(ssh_strings(b"x")),
    "a hash of an unknown kind": line(hashed("host", b"s" * 20).replace("|1|", "|2|")),
    "a hash with a short salt": line(hashed("host", b"s" * 19)),
    "a hash that is cut off": line(hashed("host", b"s" * 20)[:-8]),
    "a hash in a list": line(hashed("host", b"s" * 20) + ",host"),
    "binary data": bytes(range(11, 256)) * 3,
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_lines_are_skipped_and_named(
    malformed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pssh")
    index = index_of(line("host"), malformed.rstrip(b"\n") + b"\n", line("host"))
    assert found(index, "host") == [1, 3]
    (message,) = caplog.messages
    assert "line 2 of kh" in message


def test_certificate_authorities_are_skipped_and_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pssh")
    index = index_of(line("host", marker="@cert-authority"))
    assert status(index, ED25519) == (UNKNOWN, None)
    (message,) = caplog.messages
    assert "line 1 of kh" in message
    assert "certificates" in message


@pytest.mark.parametrize(
    "untidy",
    [
        b" \thost \t ssh-ed25519\t " + BASE64 + b"\tcomment",
        b"host ssh-ed25519 " + BASE64 + b"\r",
        b"host ssh-ed25519 " + BASE64 + b" comment\r",
        b"host ssh-ed25519 " + BASE64 + b" J\xf6rg \xff\xfe",
        b"host ssh-ed25519 " + BASE64 + b"\0null byte",
        b"host ssh-ed25519 " + BASE64 + b" " + b"long " * 400_000,
        b"x," * 400_000 + b"host ssh-ed25519 " + BASE64,
        b"\xf6\xff,host ssh-ed25519 " + BASE64,
    ],
    ids=["tabs", "crlf", "crlf-comment", "latin-1", "null", "long", "names", "latin-1-name"],
)
def test_untidy_lines_are_read(untidy: bytes) -> None:
    index = index_of(untidy + b"\n", line("host"))
    assert found(index, "host") == [1, 2]
    assert status(index, ED25519) == (KNOWN, 1)


def test_the_last_line_needs_no_newline() -> None:
    assert found(index_of(line("host").rstrip()), "host") == [1]


# Looking hosts up


@pytest.mark.parametrize(
    ("hosts", "host", "port", "matches"),
    [
        ("host", "host", 22, True),
        ("host", "hos", 22, False),
        ("host", "host", 2222, False),
        ("[host]:2222", "host", 2222, True),
        ("[host]:2222", "host", 22, False),
        ("[host]:22", "host", 22, False),
        ("a,host,b", "host", 22, True),
        ("a,,host", "host", 22, True),
        ("HOST.Example", "host.example", 22, True),
        ("host.example", "HOST.Example", 22, True),
        ("*.EXAMPLE", "host.example", 22, True),
        ("[HOST]:2222", "Host", 2222, True),
        ("::1", "::1", 22, True),
        ("[::1]:2222", "::1", 2222, True),
        ("b\xfccher.example", "B\xfcCHER.example", 22, True),
        ("*", "host", 22, True),
        ("*", "host", 2222, True),
        ("*", "two\nlines", 22, True),
        ("*.example", "host.example", 22, True),
        ("*.example", "host.example.org", 22, False),
        ("*.example", "example", 22, False),
        ("h*s*t", "hoosst", 22, True),
        ("h*s*t", "hotst.", 22, False),
        ("*a*b", "xbxa", 22, False),
        ("**", "host", 22, True),
        ("h?st", "host", 22, True),
        ("h?st", "hst", 22, False),
        ("10.0.0.?", "10.0.0.12", 22, False),
        ("10.0.0.*", "10x0.0.1", 22, False),
        ("[*]:2222", "host", 2222, True),
        ("[h]:22?2", "h", 2222, True),
        ("h\\?", "h\\x", 22, True),
        ("*,!host", "host", 22, False),
        ("*,!host", "other", 22, True),
        ("!host,*", "host", 22, False),
        ("!h*,host,*", "host", 22, False),
        ("host,!host", "host", 22, False),
        ("!host", "other", 22, False),
        ("!HOST,*", "host", 22, False),
        ("!", "host", 22, False),
    ],
)
def test_names_and_patterns(hosts: str, host: str, port: int, matches: bool) -> None:
    assert found(index_of(line(hosts)), host, port) == [1] * matches


@pytest.mark.parametrize(
    ("name", "host", "port", "matches"),
    [
        ("host", "host", 22, True),
        ("host", "HOST", 22, True),
        ("host", "other", 22, False),
        ("host", "host", 2222, False),
        ("[host]:2222", "host", 2222, True),
        ("[host]:2222", "host", 22, False),
    ],
)
def test_hashed_names(name: str, host: str, port: int, matches: bool) -> None:
    assert found(index_of(line(hashed(name, b"0123456789abcdefghij"))), host, port) == [1] * matches


def test_entries_come_in_the_order_of_the_files() -> None:
    first = [line("*"), line(hashed("host", b"1" * 20)), line("host"), line("host,h*,host")]
    second = [line("host,host"), line("other"), line(hashed("host", b"2" * 20)), line("*")]
    index = KnownHostsIndex()
    index.add_file("one", b"".join(first), None)
    index.add_file("two", b"".join(second), None)
    where = [(entry.path, entry.line) for entry in index.lookup("host", 22)]
    assert where == [*(("one", n) for n in (1, 2, 3, 4)), *(("two", n) for n in (1, 3, 4))]


def test_a_pattern_full_of_stars_takes_no_exponential_time() -> None:
    index = index_of(line("*a" * 60 + "b"))
    assert found(index, "a" * 250) == []
    assert found(index, "a" * 250 + "b") == [1]


def test_patterns_that_stand_in_several_lines_are_compiled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = []

    class Counting(known_hosts._Patterns):
        def __init__(self, hosts: bytes) -> None:
            compiled.append(hosts)
            super().__init__(hosts)

    monkeypatch.setattr(known_hosts, "_Patterns", Counting)
    index = index_of(line("h*", RSA), line("h*", ECDSA), line("*,!x"), line("h*"))
    assert found(index, "host") == [1, 2, 3, 4]
    assert compiled == [b"h*", b"*,!x"]


class CountingList(list[known_hosts.KnownHostEntry]):
    """A list that counts how many of its elements were asked for."""

    taken = 0

    def __getitem__(self, position: Any) -> Any:
        self.taken += 1
        return super().__getitem__(position)

    def __iter__(self) -> Iterator[known_hosts.KnownHostEntry]:
        self.taken += len(self)
        return super().__iter__()


def test_literal_names_are_not_searched_for() -> None:
    index = index_of(*(line(f"host{number}") for number in range(2000)))
    index._entries = entries = CountingList(index._entries)
    for number in range(2000):
        assert found(index, f"host{number}") == [number + 1]
    assert entries.taken == 2000


@pytest.fixture
def hmac_count(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names that an HMAC was computed of, one for each time."""
    computed: list[bytes] = []
    original = known_hosts._Salt.lookup

    def counting(salt: known_hosts._Salt, name: bytes) -> list[int]:
        computed.append(name)
        return original(salt, name)

    monkeypatch.setattr(known_hosts._Salt, "lookup", counting)
    return computed


def test_hashes_are_computed_once_per_salt_and_name(hmac_count: list[bytes]) -> None:
    names = ("host", "other", "host")
    index = index_of(*(line(hashed(n, salt * 20)) for salt in (b"1", b"2") for n in names))
    for _ in range(3):
        assert found(index, "host") == [1, 3, 4, 6]
        assert found(index, "neither") == []
    assert hmac_count == [b"host"] * 2 + [b"neither"] * 2


def test_a_hashed_entry_added_later_is_found(tmp_path: Path) -> None:
    index = index_of(line(hashed("other", b"1" * 20)))
    assert found(index, "host") == []
    index.add(append(tmp_path / "kh", line(hashed("host", b"1" * 20))))
    assert len(index.lookup("host", 22)) == 1


# Checking keys


def test_a_key_on_record_is_known() -> None:
    index = index_of(line("host", RSA), line("host", ED25519), line("host", ED25519))
    assert status(index, ED25519) == (KNOWN, 2)


def test_nothing_on_record_is_unknown() -> None:
    assert status(index_of(line("other")), ED25519) == (UNKNOWN, None)


def test_another_key_of_the_same_type_is_a_change_and_the_line_is_named() -> None:
    index = index_of(line("host", RSA), line("other"), line("host", ED25519))
    assert status(index, ED25519_B) == (CHANGED, 3)
    check = index.check("host", 22, "ssh-ed25519", ED25519_B)
    assert check.entry is not None
    assert (check.entry.path, check.entry.key) == ("kh", ED25519)


def test_a_key_of_a_type_not_on_record_is_a_change() -> None:
    index = index_of(line("host", RSA), line("host", ED25519))
    assert status(index, ECDSA) == (CHANGED, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_revoked_outweighs_known(order: int) -> None:
    lines = [line("host"), line("h*", marker="@revoked")][::order]
    assert status(index_of(*lines), ED25519)[0] is REVOKED


def test_the_line_that_revokes_is_named() -> None:
    index = index_of(line("host"), line("other", marker="@revoked"), line("*", marker="@revoked"))
    assert status(index, ED25519) == (REVOKED, 3)


def test_a_key_revoked_for_another_host_is_known() -> None:
    assert status(index_of(line("other", marker="@revoked"), line("host")), ED25519) == (KNOWN, 2)


def test_a_revoked_key_does_not_vouch_for_a_host_nor_conflict() -> None:
    index = index_of(line("host", marker="@revoked"))
    assert status(index, ED25519_B) == (UNKNOWN, None)
    index = index_of(line("host", ED25519_C, marker="@revoked"), line("host"))
    assert status(index, ED25519_B) == (CHANGED, 2)


def test_a_tab_after_the_marker_does_not_undo_a_revocation() -> None:
    index = index_of(line("*", marker="@revoked").replace(b"@revoked ", b"@revoked\t"))
    assert status(index, ED25519) == (REVOKED, 1)


POINT = ECDSA[-65:]


@pytest.mark.parametrize(
    ("key", "respelled"),
    [
        (RSA, rsa(b"\0\0" + RSA[-257:])),
        (RSA, RSA + b"\0"),
        (ED25519, ED25519 + ssh_strings(b"more")),
        (ECDSA, ecdsa(b"\x03" + POINT[1:33])),
        (ECDSA, ecdsa(b"\x07" + POINT[1:])),
        (ecdsa(b"\x03" + POINT[1:33]), ECDSA),
    ],
    ids=["mpint", "rest", "string", "compressed", "hybrid", "uncompressed"],
)
def test_a_revoked_key_is_revoked_in_any_spelling(key: bytes, respelled: bytes) -> None:
    index = index_of(line("host", key, marker="@revoked"))
    assert status(index, respelled) == (REVOKED, 1)


def test_different_keys_are_not_taken_for_spellings_of_a_revoked_one() -> None:
    lines = [line("*", key, marker="@revoked") for key in (RSA, ECDSA, ED25519)]
    index = index_of(*lines)
    for other in (
        rsa(b"\0\xc6" + RSA[-255:]),
        ecdsa(b"\x02" + POINT[1:33]),
        ecdsa(b"\x04" + POINT[1:64] + b"\x08"),
        ecdsa(b""),
        ssh_strings(b"ecdsa-sha2-nistp256", b"nistp256"),
        ecdsa(b"\x04"),
        ED25519_B,
        ED25519[:-1],
    ):
        assert status(index, other) == (UNKNOWN, None)


def test_another_spelling_of_a_known_key_is_not_accepted() -> None:
    assert status(index_of(line("host", RSA)), RSA + b"\0") == (CHANGED, 1)


def test_without_a_line_for_the_port_the_same_key_on_port_22_will_do() -> None:
    index = index_of(line("host"))
    assert status(index, ED25519, port=2222) == (KNOWN, 1)
    assert index.key_types("host", 2222) == ["ssh-ed25519"]
    assert status(index, ED25519_B, port=2222) == (UNKNOWN, None)


def test_a_line_for_the_port_makes_those_for_port_22_irrelevant() -> None:
    index = index_of(line("host"), line("[host]:2222", RSA))
    assert status(index, ED25519, port=2222) == (CHANGED, 2)
    assert index.key_types("host", 2222) == ["ssh-rsa"]
    assert status(index, RSA, port=22) == (CHANGED, 1)


def test_a_key_revoked_for_the_host_is_revoked_on_every_port() -> None:
    index = index_of(line("[host]:2222"), line("host", marker="@revoked"))
    assert status(index, ED25519, port=2222) == (REVOKED, 2)
    assert status(index, ED25519, port=2223) == (REVOKED, 2)


def test_key_types_in_the_order_of_the_file_without_revoked_ones() -> None:
    index = index_of(
        line("host", ECDSA, marker="@revoked"),
        line("host", RSA),
        line("*", ED25519),
        line("host", ED25519_B),
        line("host", ECDSA),
        line("other", ECDSA),
    )
    assert index.key_types("host", 22) == ["ssh-rsa", "ssh-ed25519"]
    assert index.key_types("nowhere", 22) == ["ssh-ed25519"]
    assert index_of().key_types("host", 22) == []


# Writing lines


def test_format_line() -> None:
    key = base64.b64encode(ED25519)
    assert format_line("Host", 22, "ssh-ed25519", ED25519) == b"host ssh-ed25519 " + key + b"\n"
    assert format_line("Host", 2222, "ssh-ed25519", ED25519).startswith(b"[host]:2222 ssh-")
    assert format_line("FE80::1%eth0", 22, "ssh-ed25519", ED25519).startswith(b"fe80::1%eth0 ")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a\nb",
        "a b",
        "a\tb",
        "a\rb",
        "a\0b",
        "a,b",
        "|1|a|b",
        "!a",
        "*",
        "a?",
        "#a",
        "@revoked",
        "[a]:2222",
        "a\n",
        "\x0ba",
    ],
)
@pytest.mark.parametrize("port", [22, 2222])
def test_names_that_would_smuggle_syntax_are_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError, match="cannot be recorded in a known_hosts file"):
        format_line(host, port, "ssh-ed25519", ED25519)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_are_none_are_refused(port: int) -> None:
    with pytest.raises(ValueError, match="no such TCP port"):
        format_line("host", port, "ssh-ed25519", ED25519)


@pytest.mark.parametrize(
    ("key_type", "key"),
    [
        ("ssh-rsa", ED25519),
        ("ssh-ed25519", b""),
        ("ssh-ed25519", ED25519[:-1]),
        ("a b", ssh_strings(b"a b", b"key")),
        ("a\nb", ssh_strings(b"a\nb", b"key")),
    ],
)
def test_keys_that_are_not_of_their_type_are_refused(key_type: str, key: bytes) -> None:
    with pytest.raises(ValueError, match="not a public key of type"):
        format_line("host", 22, key_type, key)


def test_fingerprint() -> None:
    expected = base64.b64encode(hashlib.sha256(ED25519).digest()).decode().rstrip("=")
    assert fingerprint(ED25519) == "SHA256:" + expected


# Files


def test_load_reads_files_in_order_and_passes_over_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(line("host", RSA))
    (tmp_path / "a").write_bytes(line("host", ED25519))
    index = load([tmp_path / "b", tmp_path / "none", str(tmp_path / "a"), tmp_path / "b"])
    paths = [entry.path for entry in index.lookup("host", 22)]
    assert paths == [str(tmp_path / "b"), str(tmp_path / "a")]
    assert index.is_current()


def test_load_says_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        load([tmp_path])


def test_load_says_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kh").touch(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above may be closed to another user
    user = os.geteuid()
    if user == 0:  # root may read every file
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="kh"):
            load(["kh"])
    finally:
        os.seteuid(user)


def test_is_current_notices_every_kind_of_change(tmp_path: Path) -> None:
    path = tmp_path / "kh"
    index = load([path])
    path.write_bytes(line("host"))
    assert not index.is_current(), "created"

    index = load([path])
    assert index.is_current()
    time_of_change = path.stat().st_mtime_ns
    path.write_bytes(line("host", RSA))
    os.utime(path, ns=(time_of_change, time_of_change))
    assert not index.is_current(), "another size"

    index = load([path])
    os.utime(path, ns=(time_of_change, time_of_change + 1))
    assert not index.is_current(), "another time"

    index = load([path])
    (tmp_path / "new").write_bytes(path.read_bytes())
    os.utime(tmp_path / "new", ns=(time_of_change, time_of_change + 1))
    (tmp_path / "new").replace(path)
    assert not index.is_current(), "replaced"

    index = load([path])
    path.unlink()
    assert not index.is_current(), "removed"


def test_is_current_notices_what_was_written_while_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kh"
    path.write_bytes(line("host"))
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        result = real(descriptor)
        with path.open("ab") as file:
            file.write(line("other"))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        index = load([path])
    assert not index.is_current()


def test_a_file_that_can_no_longer_be_asked_for_is_not_current(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    index = load([tmp_path / "folder" / "kh"])
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").touch()
    assert not index.is_current()


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_append_creates_file_and_directories_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "kh"
    append(path, line("host"))
    assert path.read_bytes() == line("host")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700


def test_append_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "kh"
    content = b"# caf\xe9\r\n\n" + line("a")
    path.write_bytes(content)
    path.chmod(0o644)
    inode = path.stat().st_ino
    append(path, line("b"))
    assert path.read_bytes() == content + line("b")
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_ino == inode


def test_append_starts_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "kh"
    path.write_bytes(line("a").rstrip())
    append(path, line("b"))
    append(path, line("c"))
    assert path.read_bytes() == line("a") + line("b") + line("c")


def test_append_follows_a_link_to_a_file_yet_to_be_created(tmp_path: Path) -> None:
    (tmp_path / "kh").symlink_to(tmp_path / "elsewhere" / "kh")
    append(tmp_path / "kh", line("a"))
    assert (tmp_path / "elsewhere" / "kh").read_bytes() == line("a")
    assert (tmp_path / "kh").is_symlink()


def test_append_says_that_the_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file/kh"):
        append(tmp_path / "file" / "kh", line("a"))


@pytest.mark.parametrize("lines", [b"", b"\n\n", b"a", b"a\nb\n", b"a\nb"])
def test_append_takes_one_line(tmp_path: Path, lines: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        append(tmp_path / "kh", lines)
    assert not (tmp_path / "kh").exists()


def test_append_writes_once_to_the_end_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        writes.append((bytes(data), fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND))
        return real(descriptor, data)

    (tmp_path / "kh").write_bytes(b"# no newline")
    monkeypatch.setattr(os, "write", write)
    append(tmp_path / "kh", line("a"))
    assert writes == [(b"\n" + line("a"), os.O_APPEND)]


def test_append_holds_an_exclusive_lock_and_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kh"
    writing, go_on = threading.Event(), threading.Event()
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        writing.set()
        go_on.wait()
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    thread = threading.Thread(target=append, args=(path, line("a")), daemon=True)
    thread.start()
    assert writing.wait(30)
    with path.open("rb") as file:
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            go_on.set()
        thread.join(30)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert path.read_bytes() == line("a")


def test_append_writes_to_the_file_that_took_the_place_of_the_one_it_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kh"
    path.write_bytes(line("old"))
    (tmp_path / "new").write_bytes(line("new"))
    real = fcntl.flock
    meanwhile: list[Callable[[], object]] = [
        path.unlink,
        lambda: (tmp_path / "new").replace(path),
    ]

    def flock(descriptor: int, operation: int) -> None:
        if meanwhile:
            meanwhile.pop()()
        real(descriptor, operation)

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(fcntl, "flock", flock)
    append(path, line("a"))
    assert path.read_bytes() == line("a")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        append("/dev/full", line("a"))
    assert caught.value.errno == errno.ENOSPC


SHORT_WRITE = """
import resource, sys
from pssh.known_hosts import append
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    append(sys.argv[1], sys.stdin.buffer.read())
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("room", range(1, len(line("host", RSA)), 37))
def test_a_line_written_in_part_is_told_and_does_no_harm(tmp_path: Path, room: int) -> None:
    path = tmp_path / "kh"
    path.write_bytes(line("a"))
    arguments = [sys.executable, "-c", SHORT_WRITE, str(path), str(len(line("a")) + room)]
    result = subprocess.run(
        arguments, input=line("host", RSA), stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    size = len(line("host", RSA))
    assert f"Only {room} of {size} bytes" in result.stdout.decode()
    assert str(path) in result.stdout.decode()
    assert path.read_bytes() == line("a") + line("host", RSA)[:room]
    append(path, line("b"))
    index = load([path])
    assert (found(index, "a"), found(index, "host"), found(index, "b")) == ([1], [], [3])


APPEND_MANY = """
import base64, sys
from pssh.known_hosts import append, format_line
path, name, count, key = sys.argv[1:]
sys.stdin.read()
for number in range(int(count)):
    line = format_line(f"{name}-{number}", 22, "ssh-rsa", base64.b64decode(key))
    append(path, line)
"""


@pytest.mark.parametrize("start", [None, b"# no newline"])
def test_processes_that_append_at_once_do_not_interleave(
    tmp_path: Path, start: bytes | None
) -> None:
    path = tmp_path / "new" / "kh"
    if start is not None:
        path.parent.mkdir()
        path.write_bytes(start)
    key = base64.b64encode(RSA).decode()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND_MANY, str(path), f"worker{number}", "100", key],
            stdin=subprocess.PIPE,
            cwd=ROOT,
        )
        for number in range(5)
    ]
    try:
        for worker in workers:  # all have started: let them go at the same time
            assert worker.stdin is not None
            worker.stdin.close()
        assert [worker.wait(60) for worker in workers] == [0] * 5
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    head = [] if start is None else [start]
    lines = path.read_bytes().splitlines()
    assert lines[: len(head)] == head
    expected = {line(f"worker{w}-{n}", RSA).rstrip() for w in range(5) for n in range(100)}
    assert sorted(lines[len(head) :]) == sorted(expected)


# Adding to the index what was appended


@pytest.mark.parametrize("content", [None, b"", line("a") + line("b"), line("a") + b"# end"])
def test_the_index_stays_current_with_what_was_appended(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "kh"
    if content is not None:
        path.write_bytes(content)
    index = load([path])
    for name in ("one", "two"):
        entry = index.add(append(path, format_line(name, 22, "ssh-rsa", RSA)))
        assert index.is_current()
        assert index.lookup(name, 22) == [entry]
        assert status(index, RSA, name) == (KNOWN, entry.line)
        assert load([path]).lookup(name, 22) == [entry]


def test_a_file_that_was_created_empty_meanwhile_has_nothing_to_read(tmp_path: Path) -> None:
    index = load([tmp_path / "kh"])
    (tmp_path / "kh").touch()
    assert index.add(append(tmp_path / "kh", line("a"))).line == 1
    assert index.is_current()


def test_the_index_is_outdated_if_the_file_had_changed_before(tmp_path: Path) -> None:
    path = tmp_path / "kh"
    index = load([path])
    path.write_bytes(line("other"))
    entry = index.add(append(path, line("host")))
    assert entry.line == 0
    assert status(index, ED25519) == (KNOWN, 0)
    assert not index.is_current()


def test_the_index_is_outdated_if_the_file_changed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "kh"
    index = load([path])
    appended = append(path, line("host"))
    append(path, line("other"))
    assert index.add(appended).line == 1
    assert not index.is_current()


def test_the_index_is_outdated_if_someone_wrote_without_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kh"
    index = load([path])
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        real(descriptor, line("other"))
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        appended = append(path, line("host"))
    assert index.add(appended).line == 0
    assert status(index, ED25519)[0] is KNOWN
    assert not index.is_current()


def test_a_line_appended_to_another_file_is_found(tmp_path: Path) -> None:
    index = load([tmp_path / "kh"])
    entry = index.add(append(tmp_path / "other", line("host")))
    assert (entry.path, entry.line) == (str(tmp_path / "other"), 0)
    assert index.lookup("host", 22) == [entry]
    assert index.is_current()


def test_only_keys_can_be_added(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="host key"):
        load([]).add(append(tmp_path / "kh", b"# comment\n"))


# What holds for all names, keys and files

NAME = st.text(
    st.characters(exclude_characters=",|!*?#@[]\x7f", exclude_categories=["Cc", "Zs", "Cs"]),
    min_size=1,
)
PORT = st.integers(1, 65535)


@given(NAME, PORT, st.binary())
def test_a_formatted_line_is_found_again(host: str, port: int, number: bytes) -> None:
    key = ssh_strings(b"ssh-new@example.com", number)
    index = index_of(line("before", RSA), format_line(host, port, "ssh-new@example.com", key))
    assert found(index, host, port) == [2]
    assert status(index, key, host, port) == (KNOWN, 2)
    assert found(index, host, port % 65535 + 1) == []


@given(st.text(), PORT)
def test_a_formatted_line_names_no_other_host(host: str, port: int) -> None:
    try:
        formatted = format_line(host, port, "ssh-ed25519", ED25519)
    except ValueError:
        return
    (entry,) = parse(formatted, "kh")
    assert entry.hosts == lookup_name(host, port)
    assert (entry.key, entry.revoked) == (ED25519, False)
    index = index_of(formatted)
    assert found(index, "host") == [1] * (lookup_name(host, port) == b"host")
    assert formatted.count(b"\n") == 1


PIECES = [b"\n", b" ", b"\t", b"\r", b"\0", b"#", b"@revoked ", b"@cert-authority ", b"@", b"|1|"]
PIECES += [b"|", b"host", b",", b"*", b"?", b"!", b"[", b"]:22", b"ssh-ed25519 ", BASE64, b"=="]
PIECES += [line("host"), hashed("host", b"s" * 20).encode(), b"\xff", b"\xc3\xa9"]
JUNK = st.lists(st.sampled_from(PIECES) | st.binary(max_size=5)).map(b"".join)


@given(JUNK, st.text())
@example(b"!,!* ssh-ed25519 " + BASE64, "\ud800")
def test_no_content_breaks_the_reader(data: bytes, host: str) -> None:
    index = index_of(data)
    index.lookup(host, 22)
    index.key_types("host", 2222)
    assert all(0 < number <= data.count(b"\n") + 1 for number in found(index, "host"))


@given(JUNK)
def test_no_key_breaks_the_check(key: bytes) -> None:
    index = index_of(line("*", marker="@revoked"), line("host"))
    if key != ED25519:
        assert index.check("host", 22, "ssh-ed25519", key).status in (CHANGED, REVOKED)


# Agreement with ssh-keygen


def keygen(*arguments: str | Path) -> str:
    assert SSH_KEYGEN is not None
    result = subprocess.run(
        [SSH_KEYGEN, *arguments], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return result.stdout.decode("utf-8", "replace")


def keygen_find(path: Path, name: str) -> list[int]:
    """The lines that `ssh-keygen -F` finds; those that hold no valid key it skips with `-l`."""
    lines = keygen("-l", "-F", name, "-f", path).splitlines()
    heads = [text.split() for text in lines if text.startswith("# Host ")]
    return [int(words[5]) for words in heads if words[6:] != ["CA"]]


HOSTS = [("host", 22), ("host", 2222), ("a.example", 22), ("b.example", 2222), ("::1", 22)]
NAMES = [lookup_name(host, port).decode() for host, port in HOSTS]
PATTERNS = ["*", "?ost", "*.example", "[*]:2222", "[*.example]:*", "h*t", "[host]:22??", "::?"]
SINGLE = st.sampled_from(NAMES + [name.upper() for name in NAMES]) | st.sampled_from(PATTERNS)
SINGLE |= st.text("aehost.*?[]:12", max_size=6)
SINGLE |= SINGLE.map(lambda name: "!" + name)
HOST_FIELD = st.lists(SINGLE, min_size=1, max_size=4).map(",".join).filter(bool)
HASHED_FIELD = st.builds(hashed, st.sampled_from(NAMES), st.sampled_from([b"1" * 20, b"2" * 20]))
MARKER = st.sampled_from(["", "", "", "@revoked", "@cert-authority", "@unknown"])
LINE = st.builds(line, HOST_FIELD | HASHED_FIELD, st.sampled_from([ED25519, ED25519_B]), MARKER)
LINE |= st.sampled_from(
    [b"\n", b"# host\n", *(m.rstrip(b"\n") + b"\n" for m in MALFORMED.values())]
)
LINE |= LINE.map(lambda text: text.replace(b"\n", b" comment\r\n"))
LINE |= LINE.map(lambda text: b" \t" + text)


@needs_ssh_keygen
@settings(max_examples=25, deadline=None)
@given(st.lists(LINE, min_size=20, max_size=60))
def test_lookup_agrees_with_ssh_keygen(
    tmp_path_factory: pytest.TempPathFactory, lines: Iterable[bytes]
) -> None:
    path = tmp_path_factory.mktemp("agreement") / "kh"
    path.write_bytes(b"".join(lines))
    index = load([path])
    ours = {name: found(index, host, port) for name, (host, port) in zip(NAMES, HOSTS, strict=True)}
    assert ours == {name: keygen_find(path, name) for name in NAMES}


@needs_ssh_keygen
def test_what_ssh_keygen_hashed_is_found(tmp_path: Path) -> None:
    path = tmp_path / "kh"
    path.write_bytes(b"".join(line(name.upper()) for name in NAMES))
    keygen("-H", "-f", path)
    assert path.read_bytes().count(b"|1|") == len(NAMES)
    index = load([path])
    for number, (host, port) in enumerate(HOSTS, 1):
        assert found(index, host, port) == [number]


@needs_ssh_keygen
@pytest.mark.parametrize("arguments", [["ed25519"], ["rsa", "-b", "2048"], ["ecdsa", "-b", "521"]])
def test_a_real_key_is_recorded_as_ssh_keygen_reads_it(
    tmp_path: Path, arguments: list[str]
) -> None:
    keygen("-q", "-N", "", "-f", tmp_path / "key", "-t", *arguments)
    key_type, text, *_ = (tmp_path / "key.pub").read_text().split()
    key = base64.b64decode(text)
    append(tmp_path / "kh", format_line("host", 2222, key_type, key))
    assert fingerprint(key) == keygen("-l", "-f", tmp_path / "key.pub").split()[1]
    assert fingerprint(key) in keygen("-l", "-F", "[host]:2222", "-f", tmp_path / "kh")
    assert status(load([tmp_path / "kh"]), key, "host", 2222) == (KNOWN, 1)
