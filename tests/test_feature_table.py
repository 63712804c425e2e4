"""The tables of doc/clients.rst say what the code does."""

from __future__ import annotations

import difflib
import importlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pssh import config
from pssh.clients import native, ssh
from pssh.clients.base.seam import Channel, Session
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SSHError
from tests import feature_table
from tests.feature_table import ABILITIES, LIBRARIES, PAGE, PLUMBING, SETTINGS, Library
from tests.servers.openssh import OpenSSHServer

CHECKOUT = Path(__file__).resolve().parent.parent


def test_the_tables_are_what_the_code_gives() -> None:
    # A process of its own: what is offered is worked out once, for the processor that is there.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.feature_table"],
        cwd=CHECKOUT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    written = PAGE.read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(
            written.splitlines(), done.stdout.splitlines(), "as written", "as it is", lineterm=""
        )
    )
    assert not difference, (
        f"{difference}\nRead the text around the tables too, and write them with "
        "`python -m tests.feature_table --write`."
    )


def test_every_setting_is_in_the_table_once() -> None:
    in_table = Counter(name for line in SETTINGS for name in line)
    assert in_table == Counter(config.arguments().keys())


def methods_of(part: type) -> Iterator[str]:
    for name, value in vars(part).items():
        if callable(value) and not name.startswith("_"):
            yield name


@pytest.mark.parametrize("part", [Session, Channel])
def test_every_method_of_the_seam_has_its_line(part: type) -> None:
    """A new ability gets a line in ABILITIES; what no user knows of goes to PLUMBING."""
    accounted_for = {*PLUMBING, *(method for ability in ABILITIES for method in ability.seam)}
    assert set(methods_of(part)) - accounted_for == set()


def cells(text: str, title: str) -> list[str]:
    """The last two cells of a line of a table, which have no double spaces in them."""
    (line,) = (line for line in text.splitlines() if title in line)
    return [cell.strip() for cell in line.split("  ") if cell.strip()][-2:]


def test_a_setting_that_a_client_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = feature_table.settings()

    monkeypatch.setattr(ssh.SSHClient, "_UNSUPPORTED", {"compress": "no"})
    monkeypatch.setattr(native.SSHClient, "_UNSUPPORTED", {})

    assert cells(before, "``compress``") == ["yes", "yes"]
    assert cells(before, "gssapi_auth") == ["no", "yes"]
    after = feature_table.settings()
    assert cells(after, "``compress``") == ["yes", "no"]
    assert cells(after, "gssapi_auth") == ["yes", "yes"]


def test_settings_of_one_line_that_are_not_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.SSHClient, "_UNSUPPORTED", {"port": "no"})
    with pytest.raises(ValueError, match="user, password, port, alias need lines of their own"):
        feature_table.settings()


def test_an_ability_that_a_library_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    offers: list[Any] = [{"extensions": ["ext-info-c"]}, {"extensions": []}]
    before = feature_table.abilities(offers)
    session = importlib.import_module("pssh.clients.ssh.session").LibsshSession

    monkeypatch.setattr(session, "auth_gssapi", Session.auth_gssapi)
    monkeypatch.setattr(session, "send_keepalive", Session.send_keepalive)

    assert cells(before, "Kerberos") == ["no", "yes"]
    assert cells(before, "Keep-alive") == ["yes", "yes"]
    assert cells(before, "SHA-2") == ["yes", "no"]
    assert cells(before, "Strict key exchange") == ["not yet", "not yet"]
    after = feature_table.abilities(offers)
    assert cells(after, "Kerberos") == ["not yet", "not yet"]
    assert cells(after, "Keep-alive") == ["yes", "no"]


def test_places_of_algorithms() -> None:
    known = [["good", "old"], ["better", "good"]]
    offers = [{"ciphers": ["good"]}, {"ciphers": ["better", "good"]}]

    text = feature_table.names_of("ciphers", known, offers)

    assert cells(text, "``good``") == ["1", "2"]
    assert cells(text, "``better``") == ["no", "1"]
    assert cells(text, "``old``") == ["on request", "no"]


def test_the_tables_go_to_their_places() -> None:
    page = "Words.\n\n.. one begins\n\nold\n\n.. one ends\n\n.. two begins\n.. two ends\n\nWords.\n"

    assert feature_table.rewritten(page, {"two": "2\n2", "one": "1"}) == (
        "Words.\n\n.. one begins\n\n1\n\n.. one ends\n\n.. two begins\n\n2\n2\n\n.. two ends\n\n"
        "Words.\n"
    )
    for made in ({"one": "1"}, {"one": "1", "two": "2", "three": "3"}):
        with pytest.raises(ValueError, match="There are places for"):
            feature_table.rewritten(page, made)


def connect(library: Library, server: OpenSSHServer, key: Path) -> BaseSSHClient:
    return library.client(
        server.host,
        user=server.user,
        port=server.port,
        pkey=str(key),
        known_hosts=str(server.known_hosts),
        allow_agent=False,
        identity_auth=False,
        timeout=30,
    )


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: str(library.title))
@pytest.mark.parametrize("size", [34_000, 40_000, 128_000])
def test_long_commands(
    library: Library, size: int, sshd: OpenSSHServer, keys: dict[str, Path]
) -> None:
    """What the page says of them in words."""
    command = f"echo {'x' * size} | wc -c"
    with connect(library, sshd, keys["ed25519"]) as client:
        if library.title == "libssh2" and size > 34_000:
            with pytest.raises(SSHError, match="too long for libssh2"):
                client.run_command(command)
            return
        output = client.run_command(command)
        assert output.stdout is not None
        assert list(output.stdout) == [str(size + 1)]
