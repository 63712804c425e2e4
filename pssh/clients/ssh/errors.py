"""libssh's errors become ours here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssh.session import SSH_CLOSED, SSH_CLOSED_ERROR

from pssh.exceptions import ConnectionLostError, PSSHError, SSHError

if TYPE_CHECKING:
    from ssh.session import Session as RawSession

#: The bits of its status of which one is set when a transport cannot be used any more.
ENDED = SSH_CLOSED | SSH_CLOSED_ERROR

#: What libssh says of a connection that ended without a word; the last is the system's for no
#: error.
_ENDED = ("Socket error: disconnected", "libssh gave no reason", "Success", "Socket error: Success")


def describe(raw: RawSession) -> str:
    """Say in words what libssh reported last."""
    return (raw.get_error() or "").strip() or "libssh gave no reason"


def lost(raw: RawSession, host: str, port: int) -> ConnectionLostError:
    """Make the error for a transport that has ended."""
    reason = describe(raw)
    if reason in _ENDED:
        reason = "the server closed it, or it was cut"
    return ConnectionLostError(
        "The connection to host %s:%s was lost: %s", host, port, reason, host=host, port=port
    )


def translate(
    raw: RawSession, host: str, port: int, doing: str, kind: type[PSSHError] = SSHError
) -> PSSHError:
    """Make one of our errors of what libssh reported last.

    :param raw: the session that it happened on.
    :param host: the host, for the message.
    :param port: its port.
    :param doing: what was being done, as in "could not … on host".
    :param kind: what to make where the connection goes on.
    """
    if raw.get_status() & ENDED:
        return lost(raw, host, port)
    return kind(
        "Could not %s on host %s:%s: %s", doing, host, port, describe(raw), host=host, port=port
    )
