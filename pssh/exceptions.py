"""The errors of this library.

Every one of them derives from :class:`PSSHError`. ``str()`` is a sentence for a
person; ``args`` is a printf-style format followed by its values, as it was in
parallel-ssh 2.x; ``host`` and ``port`` say which host it was, where there is one.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ConnectionError = builtins.ConnectionError


class PSSHError(Exception):
    """Base class of every error that this library raises itself.

    :param args: a printf-style format and the values for it.
    :param host: name or address of the host that the error is about.
    :param port: its port.
    """

    host: str | None = None
    port: int | None = None

    def __init__(self, *args: Any, host: str | None = None, port: int | None = None) -> None:
        super().__init__(*args)
        # An OSError among the bases picks its arguments apart; what we were given stays.
        self.args = args
        if host is not None:
            self.host = host
        if port is not None:
            self.port = port

    def __str__(self) -> str:
        if len(self.args) > 1 and isinstance(self.args[0], str):
            try:
                return self.args[0] % self.args[1:]
            except (TypeError, ValueError):
                # The values are not for the format (user code may raise these classes too).
                return ", ".join(str(arg) for arg in self.args)
        return str(self.args[0]) if self.args else type(self).__name__


class UnknownHostError(PSSHError):
    """The host's name could not be resolved to an address."""


class NoIPv6AddressFoundError(UnknownHostError):
    """``ipv6_only`` was asked for and the host has no IPv6 address."""


class ConnectError(PSSHError, ConnectionError):
    """No TCP connection to the host: unreachable, or no descriptor left for a socket.

    It is a built-in :class:`ConnectionError`; ``errno`` is the system's error number.
    """

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port)
        self.errno = errno


class ConnectRefusedError(ConnectError, ConnectionRefusedError):
    """The host answered that nothing listens on that port."""


class ConnectionLostError(PSSHError, ConnectionError):
    """A connection that stood has ended: cut, reset, closed, or no longer answering."""


class AuthenticationError(PSSHError):
    """The server accepted none of the authentication methods that were tried."""


class SSHError(PSSHError):
    """The SSH protocol, or the library that speaks it, failed."""


class SessionError(SSHError):
    """A session (a channel of an SSH connection) could not be opened or started."""


class HostArgumentError(PSSHError):
    """``host_args`` or ``copy_args`` do not fit the list of hosts."""


class HostConfigError(PSSHError):
    """An entry of ``host_config`` is not a :class:`pssh.config.HostConfig`."""


class SSHConfigError(PSSHError):
    """An OpenSSH client configuration cannot be read, or says something that cannot be done.

    :ivar path: the file, where it was about one.
    :ivar line: the number of the line in it.
    """

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port)
        self.path = path
        self.line = line


class SFTPError(PSSHError):
    """An SFTP session or request, or a copy over SFTP, failed.

    :ivar path: the remote path, where it was about one.
    """

    path: str | None = None

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port)
        if path is not None:
            self.path = path


class SFTPProtocolError(SFTPError):
    """The SFTP server sent something that the protocol does not allow; the session is over."""


class SFTPConnectionLostError(SFTPError, ConnectionLostError):
    """The connection was lost in the middle of a copy over SFTP."""


class SFTPIOError(SFTPError):
    """Something that was asked of the SFTP server about a file failed.

    :ivar code: the status code with which the server answered.
    :ivar code_name: its name, such as ``"SSH_FX_FAILURE"``.
    """

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        code: int | None = None,
        code_name: str | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port, path=path)
        self.code = code
        self.code_name = code_name


class SFTPNoSuchFileError(SFTPIOError):
    """The SFTP server has no file or directory with that path."""


class SFTPPermissionDeniedError(SFTPIOError):
    """The SFTP server does not allow it to this user, or to anybody."""


class SFTPFailureError(SFTPIOError):
    """The SFTP server could not do it, and its protocol has no code for the reason.

    This is what OpenSSH answers for a full disk, an existing file, a directory that is not empty.
    """


class SFTPUnsupportedError(SFTPIOError):
    """The SFTP server does not know the request, or the extension of the protocol."""


class SCPError(PSSHError):
    """A copy with SCP failed.

    :ivar path: the remote path, where it was about one.
    """

    path: str | None = None


class SCPConnectionLostError(SCPError, ConnectionLostError):
    """The connection was lost in the middle of a copy with SCP."""


class ProxyError(PSSHError):
    """The way to the host through other hosts, or through a command, could not be used.

    The reason is in the message; where an error on the way was the reason, it is the cause
    (``__cause__``) too.

    :ivar proxy_host: the host in between that it is about; ``None`` for a command.
    :ivar proxy_port: its port.
    """

    proxy_host: str | None = None
    proxy_port: int | None = None

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        proxy_host: str | None = None,
        proxy_port: int | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port)
        if proxy_host is not None:
            self.proxy_host = proxy_host
        if proxy_port is not None:
            self.proxy_port = proxy_port


class ProxyConnectionLostError(ProxyError, ConnectionLostError):
    """A connection that stood has ended because the one in between has."""


class Timeout(PSSHError):
    """Something took longer than it was allowed to.

    :ivar step: what was being done (``"resolve the name"``, ``"connect"``, ``"handshake"``,
        ``"check the host key"``, ``"authenticate"``,
        ``"connect through the proxy"``, ``"open a channel"``, ``"start the command"``,
        ``"start the shell"``, ``"read"``,
        ``"join"``, ``"run the command"``, ``"close the shell"``).
    :ivar finished: after ``join``: the outputs whose commands have finished; after
        ``join_shells``: the shells that have ended.
    :ivar unfinished: the outputs, or the shells, that have not.
    :ivar path: the remote path, in the middle of a copy over SFTP.
    """

    path: str | None = None

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        step: str | None = None,
        finished: Sequence[Any] = (),
        unfinished: Sequence[Any] = (),
    ) -> None:
        super().__init__(*args, host=host, port=port)
        self.step = step
        self.finished: list[Any] = list(finished)
        self.unfinished: list[Any] = list(unfinished)


class ProxyTimeout(ProxyError, Timeout):
    """The way to the host through other hosts took longer than it was allowed to."""

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        proxy_host: str | None = None,
        proxy_port: int | None = None,
        step: str | None = None,
    ) -> None:
        ProxyError.__init__(
            self, *args, host=host, port=port, proxy_host=proxy_host, proxy_port=proxy_port
        )
        self.step = step
        self.finished = []
        self.unfinished = []


class NotTriedError(PSSHError):
    """Nothing was done on the host: the work was stopped before it had its turn.

    :ivar reason: why.
    """

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port)
        self.reason = reason


class StoppedError(PSSHError):
    """This program ended the work on the host before it had come to its end, as after Ctrl-C."""


class PKeyFileError(PSSHError):
    """A private key file is missing or cannot be read."""


class ShellError(PSSHError):
    """An interactive shell was to run something, and is closed, or has ended by itself."""


class InvalidAPIUseError(PSSHError):
    """The library was asked for something that cannot work as asked."""


class HostKeyError(SSHError):
    """The server's host key was not accepted.

    :ivar key_type: the type of the key that the server showed.
    :ivar fingerprint: its SHA256 fingerprint, as ``ssh-keygen -l`` prints it.
    """

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        key_type: str | None = None,
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port)
        self.key_type = key_type
        self.fingerprint = fingerprint


class UnknownHostKeyError(HostKeyError):
    """The host is in no known_hosts file, and ``host_key_policy`` is ``"strict"``."""


class HostKeyMismatchError(HostKeyError):
    """The host showed another key than the one on record, or a revoked one.

    :ivar known_fingerprint: the fingerprint on record.
    :ivar known_hosts: the file that has it.
    :ivar line: the line of it, counted from 1.
    """

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        port: int | None = None,
        key_type: str | None = None,
        fingerprint: str | None = None,
        known_fingerprint: str | None = None,
        known_hosts: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(*args, host=host, port=port, key_type=key_type, fingerprint=fingerprint)
        self.known_fingerprint = known_fingerprint
        self.known_hosts = known_hosts
        self.line = line


# Names of the 1.x releases.
UnknownHostException = UnknownHostError
ConnectionErrorException = ConnectionError
AuthenticationException = AuthenticationError
SSHException = SSHError
HostArgumentException = HostArgumentError
SessionException = SessionError
SFTPException = SFTPError
SFTPIOException = SFTPIOError
SCPException = SCPError
ProxyException = ProxyError
PKeyFileException = PKeyFileError
