"""`pssh.agent_protocol`: packets to and from an agent, damaged ones too."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.agent_protocol import (
    AgentProtocolError,
    Identity,
    identities_request,
    parse_identities,
    parse_signature,
    requested_signatures,
    sign_request,
    signature_algorithm,
    signature_answer,
    signature_value,
)
from pssh.agent_protocol import identities_answer as one_identity_answer

IDENTITIES = st.lists(st.tuples(st.binary(max_size=40), st.text(max_size=10)), max_size=5)


def string(data: bytes) -> bytes:
    """A string as in RFC 4251 section 5."""
    return struct.pack(">I", len(data)) + data


def identities_answer(identities: list[tuple[bytes, str]]) -> bytes:
    """SSH_AGENT_IDENTITIES_ANSWER."""
    entries = [string(blob) + string(comment.encode()) for blob, comment in identities]
    return struct.pack(">BI", 12, len(identities)) + b"".join(entries)


def authentication_request(algorithm: bytes) -> bytes:
    """What a client signs (RFC 4252 section 7)."""
    return (
        string(b"the session")
        + b"\x32"
        + string(b"user")
        + string(b"ssh-connection")
        + string(b"publickey")
        + b"\1"
        + string(algorithm)
        + string(b"the key")
    )


def test_request_for_identities() -> None:
    assert identities_request() == b"\0\0\0\1\x0b"


@given(IDENTITIES)
def test_identities(identities: list[tuple[bytes, str]]) -> None:
    found = parse_identities(identities_answer(identities))
    assert found == [Identity(blob, comment) for blob, comment in identities]


@given(IDENTITIES.filter(bool), st.integers(min_value=0))
def test_identities_that_end_too_early(identities: list[tuple[bytes, str]], cut: int) -> None:
    whole = identities_answer(identities)
    with pytest.raises(AgentProtocolError):
        parse_identities(whole[: cut % len(whole)])


@given(st.binary(max_size=60))
def test_any_answer_is_understood_or_refused(reply: bytes) -> None:
    for parse in (parse_identities, parse_signature):
        try:
            parse(reply)
        except AgentProtocolError:
            continue


def test_a_failure_is_no_list() -> None:
    with pytest.raises(AgentProtocolError, match="does not list"):
        parse_identities(b"\5")


def test_a_comment_that_is_not_utf_8() -> None:
    reply = struct.pack(">BI", 12, 1) + string(b"key") + string(b"\xff")
    assert parse_identities(reply) == [Identity(b"key", "\ufffd")]


@pytest.mark.parametrize(
    ("algorithm", "flags"),
    [(b"ssh-ed25519", 0), (b"ssh-rsa", 0), (b"rsa-sha2-256", 2), (b"rsa-sha2-512", 4)],
)
def test_sign_request(algorithm: bytes, flags: int) -> None:
    data = authentication_request(algorithm)
    body = b"\x0d" + string(b"key") + string(data) + struct.pack(">I", flags)
    assert signature_algorithm(data) == algorithm
    assert sign_request(b"key", data) == string(body)


@given(st.binary(max_size=60))
def test_algorithm_of_anything(data: bytes) -> None:
    assert isinstance(signature_algorithm(data), bytes)


@given(st.binary(max_size=60))
def test_signature(signature: bytes) -> None:
    whole = string(b"ssh-ed25519") + string(signature)
    assert parse_signature(b"\x0e" + string(whole)) == whole
    assert signature_value(whole) == signature


@pytest.mark.parametrize("reply", [b"\5", b"", b"\x0c"])
def test_refused_signature(reply: bytes) -> None:
    assert parse_signature(reply) is None


def test_damaged_signature() -> None:
    whole = b"\x0e" + string(string(b"ssh-ed25519") + string(b"signature"))
    for cut in range(1, len(whole)):
        with pytest.raises(AgentProtocolError):
            parse_signature(whole[:cut])


# The agent's side


@given(blob=st.binary(max_size=40), comment=st.text(max_size=10))
def test_answer_with_one_identity(blob: bytes, comment: str) -> None:
    identity = Identity(blob, comment)
    packet = one_identity_answer(identity)
    assert packet[:4] == struct.pack(">I", len(packet) - 4)
    assert parse_identities(packet[4:]) == [identity]


def test_answer_to_a_request_for_a_signature() -> None:
    signature = string(b"ssh-ed25519") + string(b"signature")
    assert parse_signature(signature_answer(signature)[4:]) == signature
    assert parse_signature(signature_answer(None)[4:]) is None


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_what_a_client_wants_signed(wanted: list[bytes]) -> None:
    requests = identities_request() + b"".join(sign_request(b"key", data) for data in wanted)
    assert requested_signatures(requests) == wanted


def test_damaged_request() -> None:
    whole = sign_request(b"key", b"data")
    for cut in range(1, len(whole)):
        with pytest.raises(AgentProtocolError):
            requested_signatures(whole[:cut])
