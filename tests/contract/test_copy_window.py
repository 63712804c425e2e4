"""How much is on its way to an SFTP server, which depends on how far away it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.upload import Upload
from pssh.clients.base.single import BaseSSHClient
from pssh.sftp.replies import Reply
from tests.contract import copies
from tests.contract.copies import LARGE_REQUEST, MEGABYTE, content

connected, client, kept_clients = copies.connected, copies.client, copies.kept_clients


def test_the_shortest_round_trip_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SFTPSession.__new__(SFTPSession)
    session._round_trip = None
    assert session.writes_max == 8 * MEGABYTE
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    for seconds, expected in [
        (1, 8 * MEGABYTE),
        (0.004, 4_000_000),
        (0.005, 4_000_000),
        (0.0001, MEGABYTE),
    ]:
        session.answered_since(100 - seconds)
        assert session.writes_max == pytest.approx(expected)


@pytest.mark.parametrize("limit", [MEGABYTE, LARGE_REQUEST + 1])
def test_no_more_is_on_its_way(
    client: BaseSSHClient,
    tmp_path: Path,
    remote_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    unanswered: list[int] = []
    answered = Upload.answered

    def noted(upload: Upload, offset: int, count: int, reply: Reply | BaseException) -> None:
        unanswered.append(upload._unanswered)
        answered(upload, offset, count, reply)

    monkeypatch.setattr(Upload, "answered", noted)
    monkeypatch.setattr(SFTPSession, "writes_max", limit)
    (tmp_path / "original").write_bytes(content(8 * MEGABYTE))
    client.copy_file(tmp_path / "original", f"{remote_folder}/copy")
    assert (remote_folder / "copy").read_bytes() == content(8 * MEGABYTE)
    assert 0 < max(unanswered) <= limit


def test_the_round_trip_is_measured(
    client: BaseSSHClient,
    tmp_path: Path,
    remote_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[float] = []
    monkeypatch.setattr(
        SFTPSession, "answered_since", lambda _, began: measured.append(time.monotonic() - began)
    )
    (tmp_path / "original").write_bytes(b"content")
    client.copy_file(tmp_path / "original", f"{remote_folder}/copy")
    assert measured
    measured.clear()
    with client.open_sftp() as sftp, sftp.open(f"{remote_folder}/copy", "wb") as file:
        assert measured
        file.write(b"other")
    assert min(measured) >= 0
