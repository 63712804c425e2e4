"""`pssh.scp.source`: what is sent when, and which record a reply belongs to."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.exceptions import SCPError
from pssh.scp.record import MAX_DEPTH, MAX_LINE, Times
from pssh.scp.source import Reply, Source, Step

TIMES = Times(10**9, 2 * 10**9)


def started() -> Source:
    source = Source()
    assert source.feed(b"\0") == [Reply(Step.START, "", None)]
    return source


def with_file(size: int = 3) -> Source:
    """A source whose file was accepted."""
    source = started()
    source.file(b"a", 0o644, size)
    source.feed(b"\0")
    return source


def test_a_file() -> None:
    source = started()
    assert source.finished
    assert source.file(b"a", 0o644, 3) == b"C0644 3 a\n"
    assert source.waiting
    assert not source.in_file
    assert source.feed(b"\0") == [Reply(Step.FILE, "a", None)]
    assert not source.waiting
    assert source.in_file
    source.sent(2)
    assert source.remaining == 1
    source.sent(1)
    assert source.end_file() == b"\0"
    assert not source.in_file
    assert not source.finished
    assert source.feed(b"\0") == [Reply(Step.DATA, "a", None)]
    assert source.finished
    source.finish()


def test_a_tree_with_everything_ahead_that_may_be() -> None:
    source = Source()
    sent = source.directory(b"d", 0o755, TIMES, path="x/d")
    replies = source.feed(b"\0\0\0")
    assert not source.waiting
    assert source.depth == 1
    sent += source.file(b"empty", 0o600, 0, TIMES)
    replies += source.feed(b"\0\0")
    sent += source.end_file() + source.file(b"b", 0o644, 2, TIMES)
    replies += source.feed(b"\0\0\0")
    source.sent(2)
    sent += b"xy" + source.end_file() + source.end_directory()
    assert source.depth == 0
    sent += source.file(b"c", 0o644, 0, TIMES)
    replies += source.feed(b"\0\0\0\0")
    sent += source.end_file()
    replies += source.feed(b"\0")
    assert source.finished
    assert sent == (
        b"T1 0 2 0\nD0755 0 d\nT1 0 2 0\nC0600 0 empty\n\0T1 0 2 0\nC0644 2 b\nxy\0E\n"
        b"T1 0 2 0\nC0644 0 c\n\0"
    )
    assert replies == [
        Reply(Step.START, "", None),
        Reply(Step.TIMES, "x/d", None),
        Reply(Step.DIRECTORY, "x/d", None),
        Reply(Step.TIMES, "empty", None),
        Reply(Step.FILE, "empty", None),
        Reply(Step.DATA, "empty", None),
        Reply(Step.TIMES, "b", None),
        Reply(Step.FILE, "b", None),
        Reply(Step.DATA, "b", None),
        Reply(Step.END, "x/d", None),
        Reply(Step.TIMES, "c", None),
        Reply(Step.FILE, "c", None),
        Reply(Step.DATA, "c", None),
    ]


def test_a_refused_file_is_as_if_never_sent() -> None:
    source = started()
    source.file(b"a", 0o644, 3, path="dir/a")
    assert source.feed(b"\1scp: a: Permission denied\n") == [
        Reply(Step.FILE, "dir/a", "a: Permission denied")
    ]
    assert not source.waiting
    assert not source.in_file
    assert source.remaining == 0
    assert source.finished
    assert source.file(b"b", 0o644, 3) == b"C0644 3 b\n"


def test_a_refused_directory_is_not_entered() -> None:
    source = started()
    source.directory(b"d", 0o755)
    assert source.feed(b"\1scp: d: Not a directory\n") == [
        Reply(Step.DIRECTORY, "d", "d: Not a directory")
    ]
    assert source.depth == 0
    with pytest.raises(RuntimeError):
        source.end_directory()


def test_an_incomplete_file() -> None:
    source = with_file()
    source.sent(3)
    source.end_file()
    source.file(b"b", 0o644, 0)
    assert source.feed(b"\1scp: a: No space left on device\n\0") == [
        Reply(Step.DATA, "a", "a: No space left on device"),
        Reply(Step.FILE, "b", None),
    ]
    assert source.in_file


def test_an_error_of_ours() -> None:
    source = with_file(0)
    assert source.end_file("a: Input/output error") == b"\1scp: a: Input/output error\n"
    assert source.feed(b"\0") == [Reply(Step.DATA, "a", None)]


def test_what_must_wait() -> None:
    source = Source()
    source.file(b"a", 0o644, 3)
    source.feed(b"\0")
    with pytest.raises(RuntimeError):
        source.file(b"b", 0o644, 3)
    with pytest.raises(RuntimeError):
        source.directory(b"b", 0o755)
    with pytest.raises(RuntimeError):
        source.end_directory()
    with pytest.raises(RuntimeError):
        source.sent(1)
    with pytest.raises(RuntimeError):
        source.end_file()
    source.feed(b"\0")
    with pytest.raises(RuntimeError):
        source.file(b"b", 0o644, 3)
    with pytest.raises(RuntimeError):
        source.end_file()
    with pytest.raises(RuntimeError):
        source.sent(4)
    source.sent(3)
    source.end_file()


def test_times_for_all_or_none() -> None:
    source = started()
    source.file(b"a", 0o644, 3, TIMES)
    source.feed(b"\0\1no\n")
    with pytest.raises(RuntimeError, match="with times"):
        source.file(b"b", 0o644, 3)
    source.file(b"b", 0o644, 3, TIMES)


def test_a_name_that_cannot_be_carried_changes_nothing() -> None:
    source = started()
    for name in (b"a\nb", b"..", b"x" * 3000):
        with pytest.raises(SCPError):
            source.file(name, 0o644, 3, TIMES)
        with pytest.raises(SCPError):
            source.directory(name, 0o644, TIMES)
    assert source.finished
    assert source.file(b"a", 0o644, 1) == b"C0644 1 a\n"


def test_depth() -> None:
    source = started()
    for _ in range(MAX_DEPTH):
        source.directory(b"d", 0o755)
        source.feed(b"\0")
    with pytest.raises(SCPError, match="nested more than 256 deep: x/y"):
        source.directory(b"d", 0o755, path="x/y")
    assert not source.waiting
    for _ in range(MAX_DEPTH):
        source.end_directory()
    source.feed(b"\0" * MAX_DEPTH)
    assert source.finished


@pytest.mark.parametrize(
    ("received", "sentence"),
    [
        (b"\1scp: a: Not a directory\n", "The remote scp gave up: a: Not a directory"),
        (b"\2bye\n", "The remote scp gave up: bye"),
        (
            b"Welcome!\n",
            "The server sent 'Welcome!' instead of a reply of scp"
            " (does a start-up file of the login shell there print something?)",
        ),
        (b"\0\0", "The server sent a reply to nothing"),
        (b"\0\1scp: Killed\n", "The remote scp gave up: Killed"),
        (b"\0\3", "The server sent '\\x03' instead of a reply of scp"),
        (b"\1" + b"x" * MAX_LINE, "The server sent a message of more than 8192 bytes: '\\x01xxx"),
    ],
)
def test_before_the_first_record(received: bytes, sentence: str) -> None:
    for chunks in ([received], [bytes([byte]) for byte in received]):
        source = Source()
        with pytest.raises(SCPError) as raised:
            for chunk in chunks:
                source.feed(chunk)
        if len(chunks) == 1 or "Welcome" not in sentence:
            assert str(raised.value).startswith(sentence)
        with pytest.raises(SCPError):
            source.feed(b"\0")
        with pytest.raises(SCPError):
            source.finish()


def test_giving_up_names_the_path() -> None:
    source = started()
    source.file(b"a", 0o644, 3, path="dir/a")
    with pytest.raises(SCPError, match="The remote scp gave up at dir/a: why"):
        source.feed(b"\2why\n")


def test_an_error_while_data_is_sent() -> None:
    with pytest.raises(SCPError, match="The remote scp gave up: Broken pipe"):
        with_file().feed(b"\1scp: Broken pipe\n")


def test_a_message_broken_by_a_path() -> None:
    source = started()
    source.file(b"a", 0o644, 3)
    with pytest.raises(SCPError, match=r"sent 'y: Permission denied'.*; it had said: x"):
        source.feed(b"\1scp: x\ny: Permission denied\n")


def test_the_end() -> None:
    source = Source()
    with pytest.raises(SCPError, match="ended before it started"):
        source.finish()
    source = with_file()
    with pytest.raises(SCPError, match="ended in the middle of a"):
        source.finish()
    with pytest.raises(SCPError, match="ended in the middle of a"):
        source.feed(b"\0")
    source = started()
    source.directory(b"d", 0o755)
    source.feed(b"\0")
    with pytest.raises(SCPError, match="ended in the middle of d"):
        source.finish()
    source = started()
    source.file(b"f", 0o644, 0)
    source.feed(b"\0")
    source.end_file()
    with pytest.raises(SCPError, match="ended in the middle of f"):
        source.finish()


#: What a remote side may answer.
REPLIES = st.lists(
    st.sampled_from([b"\0", b"\0", b"\1scp: no\n", b"\1\n", b"\1" + b"x" * 600 + b"\n"]),
    max_size=30,
).map(b"".join)
CUTS = st.lists(st.integers(0, 700), max_size=8)


def drive(chunks: list[bytes]) -> tuple[list[Reply], str]:
    """Send directories and files as long as replies come; return these, and the error."""
    source = Source()
    replies: list[Reply] = []
    numbers = itertools.count()

    def go_on() -> None:
        while not source.waiting:
            number = next(numbers)
            if source.in_file:
                source.sent(source.remaining)
                source.end_file()
            elif number % 5 == 4 and source.depth:
                source.end_directory()
            elif number % 3 == 0:
                source.directory(b"%d" % number, 0o755)
            else:
                source.file(b"%d" % number, 0o644, number)

    try:
        go_on()
        for chunk in chunks:
            replies += source.feed(chunk)
            go_on()
        source.finish()
    except SCPError as ex:
        return replies, str(ex)
    return replies, ""


@given(REPLIES, CUTS)
def test_cuts_do_not_matter(data: bytes, places: list[int]) -> None:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    chunks = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    source, other = Source(), Source()
    for one in (source, other):
        one.directory(b"d", 0o755)
    assert outcome(source, [data]) == outcome(other, chunks)


def outcome(source: Source, chunks: list[bytes]) -> tuple[list[Reply], str]:
    replies: list[Reply] = []
    try:
        for chunk in chunks:
            replies += source.feed(chunk)
    except SCPError as ex:
        # What came with the error's chunk is lost with it, so only the error counts.
        return [], str(ex)
    return replies, ""


@given(REPLIES)
def test_every_reply_finds_its_record(data: bytes) -> None:
    replies, error = drive([data[at : at + 1] for at in range(len(data))])
    refused = {reply.path for reply in replies if reply.step is Step.FILE and reply.error}
    complete = {reply.path for reply in replies if reply.step is Step.DATA}
    accepted = {reply.path for reply in replies if reply.step is Step.FILE and not reply.error}
    assert complete <= accepted
    assert not complete & refused
    assert error


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\0", b"\1a\n", b"\2b\n"]))))
def test_garbage(chunks: list[bytes]) -> None:
    replies, error = drive(chunks)
    assert len(replies) <= sum(map(len, chunks))
    assert error


def test_no_memory_for_garbage() -> None:
    chunk = b"\1" + b"x" * (1 << 20)
    source = Source()
    tracemalloc.start()
    try:
        for _ in range(64):
            with pytest.raises(SCPError):
                source.feed(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
