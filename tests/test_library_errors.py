"""What is made of a library's words for what went wrong."""

from __future__ import annotations

from typing import Any

import pytest


class Raw:
    """A library's session as far as its last error goes."""

    def __init__(self, words: str) -> None:
        self._words = words

    def get_error(self) -> str:
        return self._words

    def last_error(self) -> str:
        return self._words


@pytest.mark.parametrize(
    "words", ["", "Success", "Socket error: Success", "Socket error: disconnected"]
)
def test_an_end_of_which_libssh_has_nothing_to_say(words: str) -> None:
    errors = pytest.importorskip("pssh.clients.ssh.errors")
    raw: Any = Raw(words)
    assert str(errors.lost(raw, "host", 22)) == (
        "The connection to host host:22 was lost: the server closed it, or it was cut"
    )


def test_a_packet_that_libssh2_cannot_read() -> None:
    errors = pytest.importorskip("pssh.clients.native.errors")
    raw: Any = Raw("transport read")
    error = errors.translate(raw, errors.ssh2_errors.OutOfBoundaryError(), "host", 22, "read")
    assert str(error) == (
        "The connection to host host:22 was lost: libssh2 could not read a packet "
        "(OutOfBoundaryError)"
    )
