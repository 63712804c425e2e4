"""`pssh.scp.sink`: the same events however the bytes are cut, and nothing that is not allowed."""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pssh.exceptions import SCPError
from pssh.local_path import is_safe_name
from pssh.scp.record import MAX_DEPTH, MAX_LINE, MAX_SIZE, Times
from pssh.scp.sink import (
    AHEAD,
    DirectoryEnd,
    DirectoryStart,
    Event,
    FileData,
    FileEnd,
    FileStart,
    RemoteWarning,
    Sink,
)


def collect(sink: Sink, chunks: list[bytes], events: list[object] | None = None) -> list[object]:
    """Feed chunks and return the events, with a file's data as one piece of bytes."""
    events = [] if events is None else events
    for chunk in chunks:
        for event in sink.feed(chunk):
            if not isinstance(event, FileData):
                events.append(event)
            elif events and isinstance(events[-1], bytes):
                events[-1] += bytes(event.data)
            else:
                events.append(bytes(event.data))
    return events


def receive(data: bytes, **options: bool) -> list[object]:
    return collect(Sink(**options), [data])


def test_a_file() -> None:
    sink = Sink()
    assert sink.replies() == b"\0"
    events = sink.feed(b"T1 500000 2 0\nC0644 5 a b\nhel")
    assert next(events) == FileStart(b"a b", 0o644, 5, Times(1_500_000_000, 2 * 10**9), 0)
    data = next(events)
    assert isinstance(data, FileData)
    assert bytes(data.data) == b"hel"
    assert list(events) == []
    assert sink.replies() == b"\0\0"
    assert not sink.finished
    assert collect(sink, [b"lo"]) == [b"lo"]
    assert sink.replies() == b""
    assert collect(sink, [b"\0"]) == [FileEnd(None)]
    assert sink.replies() == b"\0"
    assert sink.finished
    sink.finish()


def test_a_tree() -> None:
    sink = Sink(recursive=True)
    assert collect(
        sink,
        [
            b"D0755 0 d\nC0600 0 empty\n\0T1 0 2 0\nD0700 0 sub\nE\n"
            b"\1scp: d/pipe: not a regular file\nC4755 1 x\ny\1scp: d/x: Input/output error\nE\n"
        ],
    ) == [
        DirectoryStart(b"d", 0o755, None, 0),
        FileStart(b"empty", 0o600, 0, None, 1),
        FileEnd(None),
        DirectoryStart(b"sub", 0o700, Times(10**9, 2 * 10**9), 1),
        DirectoryEnd(),
        RemoteWarning("d/pipe: not a regular file"),
        FileStart(b"x", 0o755, 1, None, 1),
        b"y",
        FileEnd("d/x: Input/output error"),
        DirectoryEnd(),
    ]
    assert sink.replies() == b"\0" * (1 + 9)
    assert sink.finished
    sink.finish()


def test_a_file_may_be_what_is_copied_recursively() -> None:
    sink = Sink(recursive=True)
    collect(sink, [b"C0644 0 a\n\0"])
    assert sink.finished


def test_data_is_not_copied() -> None:
    sink = Sink()
    assert len(collect(sink, [b"C0644 100 a\n"])) == 1
    chunk = b"x" * 60
    (event,) = sink.feed(chunk)
    assert isinstance(event, FileData)
    assert event.data.obj is chunk


def test_replies_ahead() -> None:
    sink = Sink(recursive=True, ahead=8)
    assert sink.replies() == b"\0" * 9
    collect(sink, [b"D0755 0 d\nC0644 1 a\n"])
    assert sink.replies() == b""
    collect(sink, [b"x"])
    assert sink.replies() == b""
    collect(sink, [b"\0T1 0 1 0\n"])
    assert sink.replies() == b"\0" * 4
    assert sink.replies() == b""
    collect(sink, [b"C0644 1 a\nx\1no\nE\n"])
    assert sink.finished
    assert sink.replies() == b""


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o7777])
def test_no_special_bits(mode: int) -> None:
    (event,) = receive(b"C%o 1 a\n" % mode)
    assert isinstance(event, FileStart)
    assert event.mode == mode & 0o777
    (event,) = receive(b"D%o 0 a\n" % mode, recursive=True)
    assert isinstance(event, DirectoryStart)
    assert event.mode == mode & 0o777


NO_NAMES = [b"", b".", b"..", b"/", b"/etc/passwd", b"../a", b"a/b", b"a/", b"a\0", b"\0"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name(name: bytes) -> None:
    for record in (b"C0644 1 " + name + b"\n", b"D0755 0 " + name + b"\n"):
        with pytest.raises(SCPError, match="a name that is no file name"):
            receive(record, recursive=True)
        with pytest.raises(SCPError, match="a name that is no file name"):
            receive(b"D0755 0 d\n" + record, recursive=True, unnamed=True)
        if name not in (b"", b".", b".."):
            with pytest.raises(SCPError, match="a name that is no file name"):
                receive(record, recursive=True, unnamed=True)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"home"])
def test_a_path_without_a_name(name: bytes) -> None:
    (event,) = receive(b"D0755 0 " + name + b"\n", recursive=True, unnamed=True)
    assert event == DirectoryStart(name if name == b"home" else b"", 0o755, None, 0)


FILE = b"C0644 0 a\n\0"
DIRECTORY = b"D0755 0 d\nE\n"
TIMES = b"T1 0 1 0\n"


@pytest.mark.parametrize(
    ("data", "recursive", "sentence"),
    [
        (FILE + FILE, False, "more than was asked for: 'C0644 0 a'"),
        (FILE + FILE, True, "more than was asked for"),
        (FILE + TIMES, True, "more than was asked for"),
        (FILE + DIRECTORY, True, "more than was asked for"),
        (DIRECTORY + FILE, True, "more than was asked for"),
        (DIRECTORY + b"E\n", True, "more than was asked for"),
        (DIRECTORY, False, "a directory instead of a file: 'd'"),
        (b"E\n", False, "ended a directory where none ends"),
        (b"E\n", True, "ended a directory where none ends"),
        (b"D0755 0 d\nEnd\n", True, "ended a directory where none ends: 'End'"),
        (b"D0755 0 d\n" + TIMES + b"E\n", True, "ended a directory where none ends"),
        (TIMES + TIMES, False, "times for nothing"),
        (b"Tx\n", False, "malformed SCP record: 'Tx'"),
        (b"C0644 -1 a\n", False, "malformed SCP record"),
        (b"C0644 9223372036854775808 a\n", False, "beyond all limits"),
        (b"D0755 0 d\n" * (MAX_DEPTH + 1), True, "nested more than 256 deep"),
        (b"C0644 1 " + b"n" * MAX_LINE + b"\n", False, "a line of more than 8192 bytes"),
        (b"\1" + b"n" * MAX_LINE + b"\n", False, "a line of more than 8192 bytes"),
        (b"\2scp: bye\n", False, "The remote scp gave up: bye"),
        (b"C0644 1 a\nx\2bye\n", False, "The remote scp gave up: bye"),
        (FILE + b"\2bye\n", False, "The remote scp gave up: bye"),
        (b"C0644 1 a\nxC0644", False, "sent 'C0644' instead of the end of a file"),
        (b"D0755 0 d\nhello\nyou", True, "sent 'hello' instead of an SCP record"),
        (b"\n", False, r"sent '' instead of an SCP record \(does a start-up file"),
        (b"\0", False, r"sent '\\x00' instead of an SCP record"),
        (b"Welcome!\n", False, r"sent 'Welcome!' instead of an SCP record \(does a start-up"),
        (b"\1scp: x\ny: No such file\n", False, "'y: No such file'.*; it had said: x$"),
    ],
)
def test_what_a_server_may_not_send(data: bytes, recursive: bool, sentence: str) -> None:
    with pytest.raises(SCPError, match=sentence):
        receive(data, recursive=recursive)
    for ahead in (0, AHEAD):
        sink = Sink(recursive=recursive, ahead=ahead)
        with pytest.raises(SCPError):
            collect(sink, [bytes([byte]) for byte in data])
        with pytest.raises(SCPError):
            sink.feed(FILE)
        with pytest.raises(SCPError):
            sink.finish()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "ended before it had sent everything"),
        (b"\1scp: a: No such file or directory\n", "sent nothing: a: No such file or directory"),
        (b"C06", "ended before it had sent everything"),
        (b"C0644 3 a\n", "in the middle of a, 3 bytes before its end"),
        (b"C0644 3 a\nab", "in the middle of a, 1 bytes before its end"),
        (b"C0644 2 a\nab", "in the middle of a, 0 bytes before its end"),
        (b"C0644 2 a\nab\1wh", "in the middle of a, 0 bytes before its end"),
        (b"D0755 0 d\n", "ended before it had sent everything"),
        (b"D0755 0 d\n\1d/x: why\n", "ended before it had sent everything; it had said: d/x: why"),
    ],
)
def test_the_end(data: bytes, sentence: str) -> None:
    sink = Sink(recursive=True)
    collect(sink, [data])
    assert not sink.finished
    for _ in range(2):
        with pytest.raises(SCPError, match=sentence):
            sink.finish()


def test_messages_after_the_end() -> None:
    assert receive(FILE + b"\1scp: late\n")[-1] == RemoteWarning("late")


def test_events_are_taken_before_there_are_more() -> None:
    sink = Sink()
    next(sink.feed(b"C0644 2 a\nab\0"))
    with pytest.raises(RuntimeError):
        sink.feed(b"")


class TestRefusal:
    """What the remote side is told, and what of it comes all the same."""

    def test_a_file(self) -> None:
        sink = Sink(recursive=True)
        collect(sink, [b"D0755 0 d\n"])
        for _ in sink.feed(b"C0644 3 a\n"):
            sink.refuse("a: Is a directory")
        assert sink.replies() == b"\0\0\1scp: a: Is a directory\n"
        assert collect(sink, [b"C0644 1 b\nx\0"]) == [
            FileStart(b"b", 0o644, 1, None, 1),
            b"x",
            FileEnd(None),
        ]
        assert sink.replies() == b"\0\0"

    def test_all_that_was_asked_for(self) -> None:
        for record in (b"C0644 3 a\n", b"D0755 0 a\n"):
            sink = Sink(recursive=True)
            for _ in sink.feed(record):
                sink.refuse("no")
            assert sink.replies() == b"\0\1scp: no\n"
            assert sink.finished
            sink.finish()

    def test_a_directory(self) -> None:
        sink = Sink(recursive=True)
        collect(sink, [b"D0755 0 d\n"])
        for _ in sink.feed(b"D0755 0 e\n"):
            sink.refuse("no")
        assert sink.replies() == b"\0\0\1scp: no\n"
        assert collect(sink, [b"E\n"]) == [DirectoryEnd()]
        assert sink.finished

    def test_in_the_middle_of_a_file(self) -> None:
        sink = Sink()
        data = iter([b"C0644 6 a\nab", b"cd", b"ef\0"])
        for event in sink.feed(next(data)):
            if isinstance(event, FileData):
                sink.refuse("a: No space left")
        assert sink.replies() == b"\0\0"
        assert collect(sink, list(data)) == []
        assert sink.replies() == b"\1scp: a: No space left\n"
        assert sink.finished

    def test_at_the_end_of_a_file(self) -> None:
        sink = Sink(recursive=True)
        collect(sink, [b"D0755 0 d\nC0644 1 a\nx"])
        sink.replies()
        for _ in sink.feed(b"\0"):
            sink.refuse("a: No space left")
        assert sink.replies() == b"\1scp: a: No space left\n"
        collect(sink, [b"C0644 1 b\nx\0"])
        assert sink.replies() == b"\0\0"

    def test_with_replies_ahead(self) -> None:
        sink = Sink(recursive=True, ahead=10)
        left: list[object] = []
        for event in sink.feed(
            b"D0755 0 d\nC0644 3 a\nabc\0D0755 0 e\nC0644 1 x\ny\0D0755 0 f\nE\n\1why\nE\n"
            b"C0644 2 b\nxy\0C0644 1 c\nz\0E\n"
        ):
            left.append(event)
            if isinstance(event, FileStart | DirectoryStart) and event.name in b"ae":
                sink.refuse("no")
            elif isinstance(event, FileData) and bytes(event.data) == b"xy":
                left[-1] = b"xy"
                sink.refuse("no")
            elif isinstance(event, FileEnd):
                sink.refuse("no")
        assert sink.finished
        assert [event for event in left if not isinstance(event, FileData)] == [
            DirectoryStart(b"d", 0o755, None, 0),
            FileStart(b"a", 0o644, 3, None, 1),
            DirectoryStart(b"e", 0o755, None, 1),
            RemoteWarning("why"),
            FileStart(b"b", 0o644, 2, None, 1),
            b"xy",
            FileStart(b"c", 0o644, 1, None, 1),
            FileEnd(None),
            DirectoryEnd(),
        ]

    def test_too_late(self) -> None:
        sink = Sink(recursive=True)
        collect(sink, [b"D0755 0 d\n"])
        sink.refuse("no")
        assert collect(sink, [b"C0644 1 a\nx\0E\n"]) == []
        assert sink.finished
        assert sink.replies() == b"\0" * 5

    def test_nothing(self) -> None:
        sink = Sink()
        with pytest.raises(RuntimeError):
            sink.refuse("no")
        for _ in sink.feed(b"\1scp: why\n"):
            with pytest.raises(RuntimeError):
                sink.refuse("no")
        collect(sink, [FILE])
        with pytest.raises(RuntimeError):
            sink.refuse("no")


@dataclass
class Node:
    """A file or directory of a made-up server, and what is expected of it."""

    name: bytes
    mode: int
    times: tuple[int, int] | None
    content: bytes = b""
    error: bytes = b""
    children: list[Node] | None = None
    warnings: list[bytes] = field(default_factory=list)

    def sent(self) -> bytes:
        times = b"" if self.times is None else b"T%d 0 %d 0\n" % self.times
        messages = b"".join(b"\1scp: %b\n" % text for text in self.warnings)
        if self.children is None:
            status = b"\1scp: %b\n" % self.error if self.error else b"\0"
            record = b"C%04o %d %b\n" % (self.mode, len(self.content), self.name)
            return messages + times + record + self.content + status
        inside = b"".join(child.sent() for child in self.children)
        return messages + times + b"D%04o 0 %b\n" % (self.mode, self.name) + inside + b"E\n"

    def events(self, depth: int = 0) -> list[object]:
        mode = self.mode & 0o777
        times = None if self.times is None else Times(*(t * 10**9 for t in self.times))
        events: list[object] = [RemoteWarning(text.decode()) for text in self.warnings]
        if self.children is None:
            events.append(FileStart(self.name, mode, len(self.content), times, depth))
            events += [self.content] * bool(self.content)
            return [*events, FileEnd(self.error.decode() or None)]
        events.append(DirectoryStart(self.name, mode, times, depth))
        for child in self.children:
            events += child.events(depth + 1)
        return [*events, DirectoryEnd()]

    def replies(self) -> int:
        """How many replies it takes."""
        return (self.times is not None) + 2 + sum(c.replies() for c in self.children or [])


NAMES = st.binary(min_size=1, max_size=6).filter(lambda n: is_safe_name(n) and b"\n" not in n)
TEXTS = st.sampled_from([b"why", b"d/x: Permission denied"])
COMMON = {
    "name": NAMES,
    "mode": st.integers(0, 0o7777),
    "times": st.none() | st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
    "warnings": st.lists(TEXTS, max_size=1),
}
#: File contents that look like records too.
CONTENTS = st.lists(
    st.sampled_from([b"C0644 1 a\n", b"E\n", b"\0", b"\1x\n", b"\2", b"D"]) | st.binary(max_size=20)
).map(b"".join)
FILES = st.builds(Node, content=CONTENTS, error=st.just(b"") | TEXTS, **COMMON)
TREES = st.recursive(
    FILES,
    lambda children: st.builds(Node, children=st.lists(children, max_size=4), **COMMON),
    max_leaves=12,
)


@given(TREES, st.lists(st.integers(0, 400), max_size=12), st.sampled_from([0, 7]))
def test_cuts_do_not_matter(tree: Node, places: list[int], ahead: int) -> None:
    data = tree.sent()
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    sink = Sink(recursive=True, ahead=ahead)
    chunks = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    assert collect(sink, chunks) == tree.events()
    assert sink.finished
    sink.finish()
    assert sink.replies() == (b"" if ahead else b"\0" * (1 + tree.replies()))


@given(TREES)
def test_replies_ahead_never_run_out(tree: Node) -> None:
    sink = Sink(recursive=True, ahead=8)
    exact = Sink(recursive=True)
    ahead = len(sink.replies()) - len(exact.replies())
    for byte in tree.sent():
        collect(sink, [bytes([byte])])
        collect(exact, [bytes([byte])])
        ahead += len(sink.replies()) - len(exact.replies())
        assert sink.finished or 6 <= ahead <= 8


@given(TREES)
def test_byte_by_byte(tree: Node) -> None:
    sink = Sink(recursive=True)
    assert collect(sink, [bytes([byte]) for byte in tree.sent()]) == tree.events()


@given(TREES, st.integers(0, 2000))
def test_a_connection_cut_anywhere(tree: Node, place: int) -> None:
    data = tree.sent()
    sink = Sink(recursive=True)
    collect(sink, [data[: min(place, len(data) - 1)]])
    assert not sink.finished
    with pytest.raises(SCPError):
        sink.finish()


RECORDS = st.one_of(
    st.sampled_from([b"C0644 3 a\n", b"D0755 0 d\n", b"E\n", b"T1 0 1 0\n", b"\0", b"abc"]),
    st.sampled_from([b"\1w\n", b"\2f\n", b"C0644 3 ..\n", b"D0755 0 a/b\n", b"\n", b"C", b"D"]),
    st.binary(max_size=20),
)


@given(st.lists(RECORDS), st.booleans(), st.booleans(), st.sampled_from([0, 3]), st.integers(0, 99))
@example([b"D0755 0 d\n", b"D0755 0 d\n", b"E\n", b"E\n", b"E\n"], True, False, 3, 0)
def test_garbage(
    chunks: list[bytes], recursive: bool, unnamed: bool, ahead: int, seed: int
) -> None:
    sink = Sink(recursive=recursive, unnamed=unnamed, ahead=ahead)
    chance = random.Random(seed)
    depth = tops = 0
    try:
        for chunk in chunks:
            for event in sink.feed(chunk):
                check(event, depth, recursive, unnamed)
                if isinstance(event, FileStart | DirectoryStart):
                    tops += event.depth == 0
                refused = (
                    not isinstance(event, RemoteWarning | DirectoryEnd) and chance.random() < 0.3
                )
                if refused:
                    sink.refuse("no")
                if isinstance(event, DirectoryStart) and not refused:
                    depth += 1
                depth -= isinstance(event, DirectoryEnd)
        sink.finish()
    except SCPError:
        with pytest.raises(SCPError):
            sink.feed(b"\0")
    assert tops <= 1
    assert len(sink.replies()) <= 1 + ahead + 20 * sum(map(len, chunks))


def check(event: Event, depth: int, recursive: bool, unnamed: bool) -> None:
    """No event may lead out of the target, whatever was sent."""
    if isinstance(event, FileStart | DirectoryStart):
        assert event.depth == depth <= MAX_DEPTH
        assert event.mode & ~0o777 == 0
        assert is_safe_name(event.name) or (unnamed and depth == 0 and event.name == b"")
        assert recursive or isinstance(event, FileStart)
    assert depth >= isinstance(event, DirectoryEnd)


@pytest.mark.parametrize(
    ("begin", "chunk"),
    [
        (b"C0644 %d a\n" % MAX_SIZE, bytes(1 << 20)),
        (b"D0755 0 d\n", b"\1scp: why\n" * 5_000),
        (b"D0755 0 d\n", b"D0755 0 e\nC0644 3 a\nabc\0E\n" * 2_000),
        (b"\1", b"x" * (1 << 20)),
        (b"C", b"x" * (1 << 20)),
        (b"T", b"x" * (1 << 20)),
    ],
)
def test_memory_does_not_grow(begin: bytes, chunk: bytes) -> None:
    sink = Sink(recursive=True)
    tracemalloc.start()
    try:
        for data in [begin, *[chunk] * 8]:
            with contextlib.suppress(SCPError):
                collections.deque(sink.feed(data), maxlen=0)
            sink.replies()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
