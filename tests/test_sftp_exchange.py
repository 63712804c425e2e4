"""`pssh.sftp.exchange`: every request gets its own reply, and nonsense gets an error."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pssh.exceptions import SFTPProtocolError
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.exchange import Exchange
from pssh.sftp.limits import DEFAULT_LIMITS, Limits
from pssh.sftp.replies import (
    DataPart,
    ExtendedReply,
    FileAttributes,
    Handle,
    Name,
    Names,
    Reply,
    Status,
    StatVFS,
    Version,
)
from pssh.sftp.requests import Expects, Request
from tests.test_sftp_packets import (
    attributes,
    data,
    extended_reply,
    handle,
    names,
    packet,
    status,
    version,
)
from tests.test_sftp_parser import CHANGES, CUTS, change, cut

Answers: TypeAlias = list[tuple[object, Reply]]

WRONG = "The SFTP server on host h:22 "

#: One request for each kind of answer, and an answer of that kind to the request with an id.
ANSWERS: dict[Expects, tuple[Request, Callable[[int], bytes]]] = {
    Expects.STATUS: (requests.remove(b"/f"), lambda i: status(i, 0)),
    Expects.HANDLE: (requests.opendir(b"/d"), lambda i: handle(i, b"h")),
    Expects.DATA: (requests.read(b"h", 0, 8), lambda i: data(i, b"12345678")),
    Expects.NAMES: (requests.readdir(b"h"), lambda i: names(i, [b"a", b"b"])),
    Expects.ONE_NAME: (requests.realpath(b"."), lambda i: names(i, [b"/home"])),
    Expects.ATTRIBUTES: (requests.stat(b"/f"), lambda i: attributes(i, bytes(4))),
    Expects.STATVFS: (
        requests.statvfs(b"/"),
        lambda i: extended_reply(i, struct.pack(">11Q", *range(11))),
    ),
    Expects.LIMITS: (
        requests.limits(),
        lambda i: extended_reply(i, struct.pack(">4Q", 50000, 40000, 30000, 20)),
    ),
    Expects.EXTENDED: (
        requests.extended(b"x@y", b"", Expects.EXTENDED),
        lambda i: extended_reply(i, b"abc"),
    ),
}

#: What each answer is when it has been read, for the request with id 0.
READ = {
    Expects.STATUS: Status(0, 0),
    Expects.HANDLE: Handle(0, b"h"),
    Expects.DATA: DataPart(0, 0, memoryview(b"12345678"), 0),
    Expects.NAMES: Names(0, [Name(name, b"", Attributes()) for name in (b"a", b"b")]),
    Expects.ONE_NAME: Names(0, [Name(b"/home", b"", Attributes())]),
    Expects.ATTRIBUTES: FileAttributes(0, Attributes()),
    Expects.STATVFS: StatVFS(*range(11)),
    Expects.LIMITS: Limits(50000, 40000, 30000, 20),
    Expects.EXTENDED: ExtendedReply(0, b"abc"),
}


def agreed(extensions: Sequence[tuple[bytes, bytes]] = ()) -> Exchange[object]:
    """An exchange that has got its version."""
    exchange: Exchange[object] = Exchange(host="h", port=22)
    exchange.start("start")
    replies = list(exchange.receive(version(3, extensions)))
    assert replies == [("start", Version(3, dict(extensions)))]
    return exchange


def id_of(sent: bytes) -> int:
    """The id in a request's packet."""
    return int.from_bytes(sent[5:9], "big")


def error_from(exchange: Exchange[object], *chunks: bytes) -> str:
    """What an exchange says to some bytes, and that it says it ever after."""
    with pytest.raises(SFTPProtocolError) as caught:
        for chunk in chunks:
            list(exchange.receive(chunk))
    with pytest.raises(SFTPProtocolError, match=WRONG):
        exchange.receive(status(0, 0))
    with pytest.raises(SFTPProtocolError, match=WRONG):
        exchange.send(requests.remove(b"/"), None)
    assert (caught.value.host, caught.value.port) == ("h", 22)
    return str(caught.value)


# The version


def test_the_first_packets() -> None:
    exchange: Exchange[object] = Exchange()
    assert exchange.start("mine") == b"\0\0\0\5\1\0\0\0\3"
    assert (exchange.version, exchange.outstanding) == (None, 1)
    extensions = [(b"limits@openssh.com", b"1"), (b"vendor-id", b"\0\xff")]
    assert list(exchange.receive(version(3, extensions))) == [
        ("mine", Version(3, dict(extensions)))
    ]
    assert (exchange.version, exchange.outstanding) == (3, 0)
    assert exchange.extensions == dict(extensions)


def test_extensions_have_to_be_of_a_known_revision() -> None:
    offered = dict(constants.EXTENSION_REVISIONS)
    exchange = agreed(list(offered.items()))
    assert all(exchange.supports(name) for name in offered)
    assert len(offered) == 7

    exchange = agreed(
        [(constants.STATVFS, b"1"), (constants.FSYNC, b""), (b"copy-data", b"1")],
    )
    for name in (*offered, b"copy-data", b"x"):
        assert not exchange.supports(name)
    assert exchange.extensions[b"copy-data"] == b"1"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_server_that_is_too_old(number: int) -> None:
    exchange: Exchange[object] = Exchange(host="h", port=22)
    exchange.start(None)
    said = error_from(exchange, version(number))
    assert said == WRONG + f"speaks version {number} of SFTP, and version 3 is needed"
    assert exchange.version is None


@pytest.mark.parametrize("number", [4, 6, 2**32 - 1])
def test_a_version_that_was_not_offered(number: int) -> None:
    exchange: Exchange[object] = Exchange(host="h", port=22)
    exchange.start(None)
    said = error_from(exchange, version(number))
    assert said == WRONG + f"was offered version 3 of SFTP and chose {number}"


def test_a_second_version() -> None:
    assert error_from(agreed(), version()) == WRONG + "told its version a second time"


def test_a_version_that_nobody_asked_for() -> None:
    exchange: Exchange[object] = Exchange(host="h", port=22)
    assert error_from(exchange, version()) == WRONG + "told its version without being asked"


@pytest.mark.parametrize("sent", [status(0, 0), data(0, b"x"), handle(0, b""), names(0, [])])
def test_anything_else_before_the_version(sent: bytes) -> None:
    exchange: Exchange[object] = Exchange(host="h", port=22)
    exchange.start(None)
    exchange.send(requests.read(b"h", 0, 1), None)
    assert error_from(exchange, sent) == WRONG + "sent something else before its version"


def test_requests_need_not_wait_for_the_version() -> None:
    exchange: Exchange[object] = Exchange()
    exchange.start("start")
    sent = exchange.send(requests.realpath(b"."), "home")
    assert exchange.outstanding == 2
    replies = list(exchange.receive(version() + names(id_of(sent), [b"/root"])))
    assert [context for context, _ in replies] == ["start", "home"]


# Requests and replies


@pytest.mark.parametrize("expects", ANSWERS)
def test_each_kind_of_answer(expects: Expects) -> None:
    request, answer = ANSWERS[expects]
    exchange = agreed()
    assert request.expects is expects
    sent = exchange.send(request, "mine")
    assert sent == request.packet(0)
    assert exchange.outstanding == 1
    assert list(exchange.receive(answer(0))) == [("mine", READ[expects])]
    assert exchange.outstanding == 0


@pytest.mark.parametrize("expects", ANSWERS)
@pytest.mark.parametrize("code", [1, 2, 3, 4, 8, 99])
def test_each_request_may_fail(expects: Expects, code: int) -> None:
    request, _ = ANSWERS[expects]
    exchange = agreed()
    exchange.send(request, "mine")
    assert list(exchange.receive(status(0, code, b"words"))) == [("mine", Status(0, code, "words"))]
    assert exchange.outstanding == 0


@pytest.mark.parametrize("expects", ANSWERS)
@pytest.mark.parametrize("given_instead", ANSWERS)
def test_each_wrong_kind_of_answer(expects: Expects, given_instead: Expects) -> None:
    request, _ = ANSWERS[expects]
    _, answer = ANSWERS[given_instead]
    fits = [
        expects is given_instead,
        # One name is a number of names, and an extension's reply tells nothing of the extension.
        (expects, given_instead) == (Expects.NAMES, Expects.ONE_NAME),
        (expects, given_instead) == (Expects.LIMITS, Expects.STATVFS),
        expects is Expects.EXTENDED and answer(0)[4] == constants.SSH_FXP_EXTENDED_REPLY,
    ]
    exchange = agreed()
    exchange.send(request, "mine")
    if any(fits):
        assert len(list(exchange.receive(answer(0)))) == 1
    else:
        said = error_from(exchange, answer(0))
        assert said.startswith((WRONG + "answered ", WRONG + "sent an SSH_FXP_EXTENDED_REPLY that"))
        assert exchange.outstanding == 1


def test_what_is_said_of_wrong_answers() -> None:
    def said(request: Request, sent: bytes) -> str:
        exchange = agreed()
        exchange.send(request, None)
        return error_from(exchange, sent).removeprefix(WRONG)

    assert said(requests.opendir(b"/"), status(0, 0)) == "answered SSH_FX_OK instead of a handle"
    assert said(requests.opendir(b"/"), data(0, b"x")) == "answered with data instead of a handle"
    assert (
        said(requests.remove(b"/"), handle(0, b"")) == "answered with a handle instead of a status"
    )
    assert said(requests.read(b"", 0, 1), names(0, [])) == "answered with names instead of data"
    assert said(requests.stat(b""), extended_reply(0, b"")) == (
        "answered with the reply of an extension instead of attributes"
    )
    assert said(requests.limits(), attributes(0, bytes(4))) == (
        "answered with attributes instead of limits"
    )
    assert said(requests.readlink(b""), names(0, [])) == "answered with 0 names instead of one"
    assert said(requests.realpath(b""), names(0, [b"a", b"b"])) == (
        "answered with 2 names instead of one"
    )
    assert said(requests.limits(), extended_reply(0, bytes(31))) == (
        "sent an SSH_FXP_EXTENDED_REPLY that ends too early"
    )


def test_an_empty_listing_is_an_answer() -> None:
    exchange = agreed()
    exchange.send(requests.readdir(b"h"), "mine")
    assert list(exchange.receive(names(0, []))) == [("mine", Names(0, []))]


@pytest.mark.parametrize("answer", [status(5, 0), data(5, b"x"), handle(5, b"h"), names(5, [])])
def test_answers_to_nothing(answer: bytes) -> None:
    exchange = agreed()
    exchange.send(requests.read(b"h", 0, 10), None)
    said = error_from(exchange, answer)
    assert said == WRONG + "answered request 5, which does not wait for an answer"


@pytest.mark.parametrize("expects", ANSWERS)
def test_a_second_answer(expects: Expects) -> None:
    request, answer = ANSWERS[expects]
    exchange = agreed()
    exchange.send(request, None)
    list(exchange.receive(answer(0)))
    assert "request 0, which does not wait" in error_from(exchange, answer(0))


def test_more_data_than_asked_for() -> None:
    exchange = agreed()
    exchange.send(requests.read(b"h", 0, 10), None)
    sent = data(0, bytes(11))
    # Not even its first byte is handed on.
    assert error_from(exchange, sent[:14]) == WRONG + "sent 11 bytes where 10 were asked for"


def test_data_in_parts_and_short_reads() -> None:
    exchange = agreed()
    for context in ("first", "second"):
        exchange.send(requests.read(b"h", 0, 10), context)
    sent = data(1, b"abc") + data(0, b"0123456789")
    assert list(exchange.receive(sent[:15])) == [("second", DataPart(1, 0, memoryview(b"ab"), 1))]
    assert exchange.outstanding == 2
    assert exchange.in_packet
    assert list(exchange.receive(sent[15:30])) == [
        ("second", DataPart(1, 2, memoryview(b"c"), 0)),
        ("first", DataPart(0, 0, memoryview(b"0"), 9)),
    ]
    assert exchange.outstanding == 1
    assert list(exchange.receive(sent[30:])) == [
        ("first", DataPart(0, 1, memoryview(b"123456789"), 0))
    ]
    assert exchange.outstanding == 0
    assert not exchange.in_packet


def test_requests_may_be_sent_while_replies_are_taken() -> None:
    exchange = agreed()
    exchange.send(requests.stat(b"a"), 0)
    sent = 1
    stream = b"".join(attributes(number, bytes(4)) for number in range(50))
    for context, _ in exchange.receive(stream):
        assert context == sent - 1
        if sent < 50:
            exchange.send(requests.stat(b"a"), sent)
            sent += 1
    assert exchange.outstanding == 0


def test_ids_are_not_used_again_while_they_wait() -> None:
    exchange = agreed()
    exchange.send(requests.stat(b"a"), "slow")
    exchange.send(requests.stat(b"a"), "slow too")
    exchange._next_id = 2**32 - 2
    ids = [id_of(exchange.send(requests.stat(b"a"), None)) for _ in range(4)]
    assert ids == [2**32 - 2, 2**32 - 1, 2, 3]
    assert list(exchange.receive(attributes(1, bytes(4)))) == [
        ("slow too", FileAttributes(1, Attributes()))
    ]
    exchange._next_id = 2**32 - 2
    list(exchange.receive(status(2**32 - 2, 2)))
    ids = [id_of(exchange.send(requests.stat(b"a"), None)) for _ in range(3)]
    assert ids == [2**32 - 2, 1, 4]


# Limits


def test_limits() -> None:
    exchange = agreed([(constants.LIMITS, b"1")])
    assert exchange.limits == DEFAULT_LIMITS
    exchange.send(requests.limits(), None)
    list(exchange.receive(extended_reply(0, struct.pack(">4Q", 262144, 261120, 261120, 99))))
    assert exchange.limits == Limits(262144, 261120, 261120, 99)


def test_limits_that_are_refused() -> None:
    exchange = agreed([(constants.LIMITS, b"1")])
    exchange.send(requests.limits(), None)
    list(exchange.receive(status(0, 8)))
    assert exchange.limits == DEFAULT_LIMITS


def test_limits_stay_within_what_is_taken_here() -> None:
    exchange: Exchange[object] = Exchange(max_packet=50000)
    exchange.start(None)
    exchange.send(requests.limits(), None)
    list(exchange.receive(version() + extended_reply(0, bytes(32))))
    assert exchange.limits == Limits(50000, 48976, 48976, None)
    sent = exchange.send(requests.read(b"h", 0, 48976), None)
    assert len(list(exchange.receive(data(id_of(sent), bytes(48976))))) == 1
    with pytest.raises(ValueError, match="48977 bytes are too much"):
        exchange.send(requests.read(b"h", 0, 48977), None)


def test_what_every_server_may_send_is_always_taken() -> None:
    exchange: Exchange[object] = Exchange(max_packet=10)
    exchange.start(None)
    list(exchange.receive(version()))
    exchange.send(requests.read(b"h", 0, 32768), None)
    assert len(list(exchange.receive(data(0, bytes(32768))))) == 1


def test_requests_beyond_the_limits_are_not_sent() -> None:
    exchange = agreed()
    exchange.send(requests.write_header(b"h" * 256, 0, 32768), None)
    exchange.send(requests.stat(b"x" * 33991), None)
    before = exchange.outstanding
    with pytest.raises(ValueError, match="has 34001 bytes, and the SFTP server takes 34000"):
        exchange.send(requests.stat(b"x" * 33992), None)
    with pytest.raises(ValueError, match="the SFTP server takes 34000"):
        exchange.send(requests.write_header(b"h", 0, 40000), None)
    with pytest.raises(ValueError, match="too much for one request"):
        exchange.send(requests.read(b"h", 0, 1 << 20), None)
    assert exchange.outstanding == before


# The end


def test_what_is_left_at_the_end() -> None:
    exchange: Exchange[object] = Exchange()
    exchange.start("start")
    for context in "abc":
        exchange.send(requests.read(b"h", 0, 10), context)
    list(exchange.receive(version() + data(1, b"all") + data(0, b"part")[:-1]))
    assert exchange.close() == ["a", "c"]
    assert exchange.close() == []
    assert exchange.outstanding == 0
    assert list(exchange.receive(b"whatever comes later")) == []
    with pytest.raises(RuntimeError, match="between"):
        exchange.send(requests.stat(b"a"), None)
    with pytest.raises(RuntimeError, match="only once"):
        exchange.start(None)


def test_the_end_before_the_version() -> None:
    exchange: Exchange[object] = Exchange()
    exchange.start("start")
    exchange.send(requests.stat(b"a"), "early")
    assert exchange.close() == ["start", "early"]


def test_an_end_in_the_middle_of_what_was_received() -> None:
    exchange = agreed()
    for context in "ab":
        exchange.send(requests.stat(b"a"), context)
    replies = exchange.receive(attributes(0, bytes(4)) + attributes(1, bytes(4)))
    assert next(replies)[0] == "a"
    assert exchange.close() == ["b"]
    assert list(replies) == []


def test_what_is_left_after_an_error() -> None:
    exchange = agreed()
    for context in "abc":
        exchange.send(requests.stat(b"a"), context)
    replies = exchange.receive(attributes(1, bytes(4)) + status(9, 0))
    assert next(replies)[0] == "b"
    with pytest.raises(SFTPProtocolError):
        next(replies)
    assert exchange.close() == ["a", "c"]


def test_start_comes_first_and_once() -> None:
    exchange: Exchange[object] = Exchange()
    with pytest.raises(RuntimeError, match="between"):
        exchange.send(requests.stat(b"a"), None)
    exchange.start(None)
    with pytest.raises(RuntimeError, match="only once"):
        exchange.start(None)


def test_what_was_received_has_to_be_taken() -> None:
    exchange = agreed()
    exchange.send(requests.stat(b"a"), None)
    exchange.receive(attributes(0, bytes(4)))
    with pytest.raises(RuntimeError, match="not all been taken"):
        exchange.receive(b"")


# Any order, any cut, any damage


def received(exchange: Exchange[object], chunks: Iterable[bytes]) -> tuple[Answers, str | None]:
    """The replies, with the data of each joined, and the first error."""
    answers: Answers = []
    error = None
    for chunk in chunks:
        try:
            for context, reply in exchange.receive(chunk):
                if isinstance(reply, DataPart):
                    joined = bytes(reply.data)
                    if reply.position:
                        _, before = answers.pop()
                        assert isinstance(before, DataPart)
                        assert reply.position == len(before.data)
                        joined = bytes(before.data) + joined
                    reply = DataPart(reply.request_id, 0, memoryview(joined), reply.remaining)
                answers.append((context, reply))
        except SFTPProtocolError as caught:
            error = error or str(caught)
    return answers, error


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Request], bytes]:
    """Requests, with ids from 0 on, and a stream that answers each of them in some order."""
    kinds = draw(st.lists(st.sampled_from(list(ANSWERS)), max_size=8))
    sent = [ANSWERS[kind][0] for kind in kinds]
    order = draw(st.permutations(range(len(kinds))))
    replies = [
        status(place, 4, b"no") if draw(st.booleans()) else ANSWERS[kinds[place]][1](place)
        for place in order
    ]
    return sent, b"".join(replies)


def conversation(sent: list[Request]) -> Exchange[object]:
    exchange = agreed()
    for place, request in enumerate(sent):
        assert id_of(exchange.send(request, place)) == place
    return exchange


@given(conversations(), CUTS)
@settings(max_examples=200, deadline=None)
def test_every_request_gets_its_reply(talk: tuple[list[Request], bytes], places: list[int]) -> None:
    sent, stream = talk
    exchange = conversation(sent)
    answers, error = received(exchange, cut(stream, places))
    assert error is None
    assert sorted(str(context) for context, _ in answers) == [str(i) for i in range(len(sent))]
    for context, reply in answers:
        if not isinstance(reply, StatVFS | Limits | Version):
            assert reply.request_id == context
    assert exchange.outstanding == 0
    assert received(conversation(sent), [stream]) == (answers, None)


@given(conversations(), CHANGES, CUTS)
@settings(max_examples=400, deadline=None)
def test_damaged_streams_answer_or_fail_the_same_for_every_cut(
    talk: tuple[list[Request], bytes], changes: list[tuple[int, bytes]], places: list[int]
) -> None:
    sent, stream = talk
    damaged = change(stream, changes)
    exchange = conversation(sent)
    answers, error = received(exchange, cut(damaged, places))
    assert received(conversation(sent), [damaged]) == (answers, error)
    # Every request was answered completely, or its context comes back at the end: never both.
    complete = [
        context
        for context, reply in answers
        if not isinstance(reply, DataPart) or not reply.remaining
    ]
    left = exchange.close()
    assert sorted(map(str, [*complete, *left])) == [str(place) for place in range(len(sent))]


@given(st.binary(max_size=200), CUTS, st.booleans())
@settings(deadline=None)
def test_garbage(garbage: bytes, places: list[int], has_version: bool) -> None:
    exchange: Exchange[object] = Exchange(host="h", port=22)
    exchange.start("start")
    chunks = cut(garbage, places)
    answers, error = received(exchange, [version(), *chunks] if has_version else chunks)
    assert len(answers) <= 1
    assert error is None or error.startswith(WRONG)


@given(st.integers(0, 255), st.integers(0, 3), st.binary(max_size=60))
@settings(deadline=None)
def test_any_content_of_any_type(kind: int, request_id: int, content: bytes) -> None:
    exchange = conversation([ANSWERS[Expects.DATA][0], ANSWERS[Expects.ONE_NAME][0]])
    sent = packet(kind, struct.pack(">I", request_id) + content)
    answers, error = received(exchange, [sent])
    assert len(answers) + (error is not None) <= 1
