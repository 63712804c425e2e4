"""The packets between us and an SSH agent (draft-ietf-sshm-ssh-agent). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_FAILURE: Final = 5
_REQUEST_IDENTITIES: Final = 11
_IDENTITIES_ANSWER: Final = 12
_SIGN_REQUEST: Final = 13
_SIGN_RESPONSE: Final = 14

#: Ask for SHA-2 where the key is RSA (section 4.5.1 of the draft; RFC 8332).
_FLAGS = {
    b"rsa-sha2-256": 2,
    b"rsa-sha2-512": 4,
    b"rsa-sha2-256-cert-v01@openssh.com": 2,
    b"rsa-sha2-512-cert-v01@openssh.com": 4,
}

#: The answer to what cannot be done, with its length.
FAILURE: Final = b"\0\0\0\1" + bytes([_FAILURE])

#: What a reply may have at most; OpenSSH's own limit.
MAX_REPLY: Final = 256 * 1024


class AgentProtocolError(Exception):
    """The agent answered something that is no answer to the request."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that an agent holds."""

    blob: bytes
    comment: str


def identities_request() -> bytes:
    """Build the packet that asks for the list of keys."""
    return packet(bytes([_REQUEST_IDENTITIES]))


def parse_identities(reply: bytes) -> list[Identity]:
    """Read the list of keys.

    :param reply: the packet without its length.
    :raises AgentProtocolError: when it is something else.
    """
    if reply[:1] != bytes([_IDENTITIES_ANSWER]) or len(reply) < 5:
        raise AgentProtocolError("the agent does not list its keys")
    count, at = int.from_bytes(reply[1:5], "big"), 5
    identities = []
    for _ in range(count):
        blob, at = _string(reply, at)
        comment, at = _string(reply, at)
        identities.append(Identity(blob, comment.decode("utf-8", "replace")))
    return identities


def sign_request(blob: bytes, data: bytes) -> bytes:
    """Build the packet that asks for a signature.

    :param blob: the public key.
    :param data: what is to be signed: a user authentication request (RFC 4252 section 7),
        whose algorithm name decides between the signatures of an RSA key.
    """
    flags = _FLAGS.get(signature_algorithm(data), 0)
    return packet(bytes([_SIGN_REQUEST]) + packet(blob) + packet(data) + struct.pack(">I", flags))


def parse_signature(reply: bytes) -> bytes | None:
    """Return a signature (RFC 4253 section 6.6), ``None`` when refused.

    :param reply: the packet without its length.
    :raises AgentProtocolError: when it is damaged.
    """
    if reply[:1] != bytes([_SIGN_RESPONSE]):
        return None
    signature, _ = _string(reply, 1)
    signature_value(signature)
    return signature


def signature_value(signature: bytes) -> bytes:
    """Return the bytes of a signature without its algorithm (RFC 4253 section 6.6).

    :raises AgentProtocolError: when it is damaged.
    """
    _, at = _string(signature, 0)
    value, _ = _string(signature, at)
    return value


# The agent's side, for a library that wants to talk to an agent itself


@dataclass(frozen=True, slots=True)
class SignRequest:
    """What a client asks to have signed.

    :param blob: the public key of the key that is to sign.
    :param data: what is to be signed.
    :param flags: which signature of an RSA key is wanted.
    """

    blob: bytes
    data: bytes
    flags: int


def parse_request(request: bytes) -> SignRequest | None:
    """Read a request: to sign, or ``None`` for the one for the list of keys.

    :param request: the packet without its length.
    :raises AgentProtocolError: when it is damaged, or asks for something else.
    """
    if request == bytes([_REQUEST_IDENTITIES]):
        return None
    if request[:1] != bytes([_SIGN_REQUEST]):
        raise AgentProtocolError("what is asked for is not known here")
    blob, at = _string(request, 1)
    data, at = _string(request, at)
    if len(request) != at + 4:
        raise AgentProtocolError("the request to sign is damaged")
    return SignRequest(blob, data, int.from_bytes(request[at:], "big"))


def identities_answer(*identities: Identity) -> bytes:
    """Build the packet that lists keys."""
    listed = b"".join(packet(each.blob) + packet(each.comment.encode()) for each in identities)
    return packet(bytes([_IDENTITIES_ANSWER]) + struct.pack(">I", len(identities)) + listed)


def signature_answer(signature: bytes | None) -> bytes:
    """Build the packet with a signature, or the refusal to sign."""
    if signature is None:
        return FAILURE
    return packet(bytes([_SIGN_RESPONSE]) + packet(signature))


def requested_signatures(requests: bytes) -> list[bytes]:
    """Return the data that a client asked to have signed, from all its packets.

    :raises AgentProtocolError: when the packets are damaged.
    """
    asked, at = [], 0
    while at < len(requests):
        request, at = _string(requests, at)
        if request[:1] == bytes([_SIGN_REQUEST]):
            _, data_at = _string(request, 1)
            asked.append(_string(request, data_at)[0])
    return asked


def signature_algorithm(data: bytes) -> bytes:
    """Return the algorithm that a user authentication request names (RFC 4252 section 7)."""
    try:
        _, at = _string(data, 0)  # session identifier
        at += 1  # SSH_MSG_USERAUTH_REQUEST
        for _ in range(3):  # user name, service, "publickey"
            _, at = _string(data, at)
        name, _ = _string(data, at + 1)  # after the boolean
    except AgentProtocolError:
        return b""
    return name


def packet(content: bytes) -> bytes:
    """Put its length before something: a packet, and a string (RFC 4251 section 5)."""
    return struct.pack(">I", len(content)) + content


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    if at + 4 > len(data) or end > len(data):
        raise AgentProtocolError("the agent's answer ends too early")
    return data[at + 4 : end], end
