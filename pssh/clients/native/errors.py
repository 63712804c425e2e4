"""libssh2's errors become ours here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssh2 import exceptions as ssh2_errors
from ssh2.exceptions import SSH2Error
from ssh2.utils import handle_error_codes

from pssh.exceptions import ConnectionLostError, PSSHError, SessionError, SSHError

if TYPE_CHECKING:
    from ssh2.session import Session as RawSession

#: After one of these the transport cannot be used any more.
TRANSPORT_ERRORS = (
    ssh2_errors.SocketDisconnectError,
    ssh2_errors.SocketSendError,
    ssh2_errors.SocketRecvError,
    ssh2_errors.SocketTimeout,
    ssh2_errors.BadSocketError,
    ssh2_errors.InvalidMACError,
    ssh2_errors.DecryptError,
    ssh2_errors.EncryptError,
    ssh2_errors.ProtocolError,
    ssh2_errors.OutOfBoundaryError,
    ssh2_errors.KeyExchangeError,
    ssh2_errors.KexFailureError,
    ssh2_errors.ZlibError,
    ssh2_errors.CompressError,
    ssh2_errors.HashCalcError,
    ssh2_errors.MacFailureError,
)

#: What libssh2 says of whatever is wrong with a packet: it is too large, or its MAC is wrong.
_NO_REASON = "transport read"

_CLOSED_BY_SERVER = (ssh2_errors.SocketDisconnectError, ssh2_errors.SocketRecvError)


def describe(raw: RawSession, error: Exception) -> str:
    """Say in words what libssh2 reported last."""
    text = raw.last_error().strip()
    return text or type(error).__name__


def translate(raw: RawSession, error: Exception, host: str, port: int, doing: str) -> PSSHError:
    """Make one of our errors of one of libssh2's.

    :param raw: the session that it happened on.
    :param error: what the binding raised.
    :param host: the host, for the message.
    :param port: its port.
    :param doing: what was being done, as in "could not … on host".
    """
    if isinstance(error, TRANSPORT_ERRORS):
        if isinstance(error, _CLOSED_BY_SERVER):
            reason = "the server closed it, or it was cut"
        else:
            reason = describe(raw, error)
            if reason == _NO_REASON:
                reason = f"libssh2 could not read a packet ({type(error).__name__})"
        return ConnectionLostError(
            "The connection to host %s:%s was lost: %s", host, port, reason, host=host, port=port
        )
    kind = SessionError if isinstance(error, ssh2_errors.ChannelError) else SSHError
    return kind(
        "Could not %s on host %s:%s: %s",
        doing,
        host,
        port,
        describe(raw, error),
        host=host,
        port=port,
    )


def error_for_code(code: int) -> SSH2Error | None:
    """Return the exception of the binding for a code of libssh2's, ``None`` for none."""
    try:
        handle_error_codes(code)
    except SSH2Error as ex:
        return ex
    return None
