"""`pssh.sftp.status`: a server's status as an error that says what failed, where and why."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from pssh import exceptions
from pssh.exceptions import (
    PSSHError,
    SFTPError,
    SFTPFailureError,
    SFTPIOError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
    SFTPProtocolError,
    SFTPUnsupportedError,
)
from pssh.sftp.constants import STATUS_NAMES
from pssh.sftp.replies import Status
from pssh.sftp.status import code_name, error_for

CLASSES = {
    1: SFTPIOError,
    2: SFTPNoSuchFileError,
    3: SFTPPermissionDeniedError,
    4: SFTPFailureError,
    5: SFTPIOError,
    6: SFTPIOError,
    7: SFTPIOError,
    8: SFTPUnsupportedError,
    10: SFTPNoSuchFileError,
    12: SFTPPermissionDeniedError,
    14: SFTPIOError,
    999: SFTPIOError,
}

#: Code -> the sentence for opening /x without a word from the server.
SENTENCES = {
    1: "Could not open /x on host h:22: end of file (SSH_FX_EOF)",
    2: "Could not open /x on host h:22: no such file or directory (SSH_FX_NO_SUCH_FILE)",
    3: "Could not open /x on host h:22: permission denied (SSH_FX_PERMISSION_DENIED)",
    4: "Could not open /x on host h:22: the server could not do it (SSH_FX_FAILURE)",
    5: "Could not open /x on host h:22: the server did not understand the request"
    " (SSH_FX_BAD_MESSAGE)",
    6: "Could not open /x on host h:22: the server has no connection (SSH_FX_NO_CONNECTION)",
    7: "Could not open /x on host h:22: the server lost its connection (SSH_FX_CONNECTION_LOST)",
    8: "Could not open /x on host h:22: the server does not support it (SSH_FX_OP_UNSUPPORTED)",
    14: "Could not open /x on host h:22: the server refused (SSH_FX_NO_SPACE_ON_FILESYSTEM)",
    999: "Could not open /x on host h:22: the server refused (status 999)",
}


@pytest.mark.parametrize("code", CLASSES)
def test_each_code_has_its_class(code: int) -> None:
    error = error_for(Status(1, code, "words"), "open", "/x", host="h", port=22)
    assert type(error) is CLASSES[code]
    assert (error.host, error.port, error.path, error.code) == ("h", 22, "/x", code)
    assert error.code_name == code_name(code)


@pytest.mark.parametrize("code", SENTENCES)
def test_each_code_has_its_sentence(code: int) -> None:
    assert str(error_for(Status(1, code), "open", "/x", host="h", port=22)) == SENTENCES[code]


def test_the_server_s_words_are_in_the_sentence() -> None:
    error = error_for(Status(1, 3, "Permission denied"), "open", "/x", host="h", port=22)
    assert str(error) == (
        "Could not open /x on host h:22: permission denied"
        " (SSH_FX_PERMISSION_DENIED: Permission denied)"
    )


def test_two_paths() -> None:
    error = error_for(Status(1, 4), "rename", b"/a", target="/b\n", host="h", port=22)
    assert str(error).startswith("Could not rename /a to /b\\n on host h:22: ")
    assert error.path == "/a"


def test_neither_path_nor_host() -> None:
    error = error_for(Status(1, 8), "read the limits", None)
    assert str(error) == (
        "Could not read the limits: the server does not support it (SSH_FX_OP_UNSUPPORTED)"
    )
    assert (error.host, error.port, error.path) == (None, None, None)


def test_names_in_a_sentence_can_be_printed_and_the_path_is_exact() -> None:
    error = error_for(Status(1, 2, " no\x1b[2J\nfile "), "open", b"/100%s\xff", host="fe80::1%eth0")
    assert "Could not open /100%s\\xff on host fe80::1%eth0:" in str(error)
    assert str(error).endswith("(SSH_FX_NO_SUCH_FILE: no\\x1b[2J\\nfile)")
    assert error.path == "/100%s\udcff"


def test_a_long_message_is_cut() -> None:
    error = error_for(Status(1, 4, "x" * 100_000), "open", "/x")
    assert len(str(error)) < 400
    assert str(error).endswith("xxx…)")


def test_names_of_codes() -> None:
    assert [code_name(code) for code in (0, 1, 8, 31, 32, 2**32 - 1)] == [
        *("SSH_FX_OK", "SSH_FX_EOF", "SSH_FX_OP_UNSUPPORTED"),
        *("SSH_FX_NO_MATCHING_BYTE_RANGE_LOCK", "status 32", "status 4294967295"),
    ]
    assert sorted(STATUS_NAMES) == list(range(32))


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_fields_survive_copying_and_pickling(again: Callable[[SFTPIOError], SFTPIOError]) -> None:
    error = error_for(Status(1, 2, "gone"), "open", "/x", host="h", port=22)
    twin = again(error)
    assert type(twin) is SFTPNoSuchFileError
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
    assert (twin.host, twin.path, twin.code, twin.code_name) == (
        *("h", "/x", 2, "SSH_FX_NO_SUCH_FILE"),
    )


def test_the_classes() -> None:
    assert issubclass(SFTPProtocolError, SFTPError)
    assert not issubclass(SFTPProtocolError, SFTPIOError)
    for kind in set(CLASSES.values()):
        assert issubclass(kind, SFTPIOError)
        assert issubclass(kind, PSSHError)
        assert not issubclass(kind, OSError)  # those are about local files
        assert getattr(exceptions, kind.__name__) is kind
    assert (SFTPIOError("text").path, SFTPIOError("text").code) == (None, None)
