"""The command line that starts the remote side of an SCP copy. Pure.

The path goes through the login shell of the remote user, which is taken to be a POSIX one. A path
of harmless characters goes as it is, because servers without a shell (network devices, Windows)
know no quotes; any other one is quoted, so that spaces, quotes, newlines, wildcards and bytes that
are no text mean themselves.

A leading ``~`` or ``~user``, alone or before a ``/``, stays outside the quotes: the shell replaces
it by the home folder, as users of scp expect. (parallel-ssh 2.x quoted it, and such a path was
found only where a folder had that name; ``./~`` is how to name it.)
"""

from __future__ import annotations

import re

from pssh.exceptions import InvalidAPIUseError

# Not among them: "=", which zsh looks up as a command's name where a word begins with it.
_HARMLESS = re.compile(rb"[A-Za-z0-9@%+:,./_-]+")

# The names of POSIX (XBD 3.437) but for a leading digit: to bash and zsh "~1", "~+" and "~-" are
# folders that the shell remembers.
_HOME = re.compile(rb"~(?:[A-Za-z_][A-Za-z0-9_.-]*)?(?=/|\Z)")


def send_command(
    path: str | bytes,
    *,
    recursive: bool = False,
    preserve: bool = False,
    directory: bool = False,
    encoding: str = "utf-8",
) -> bytes:
    """Build the command that makes the remote side receive.

    :param path: where to: a file, or a directory that the names in the records are below of.
        Where it is an existing directory a file goes into it, under the name in its record.
    :param recursive: directories will be sent.
    :param preserve: the remote side sets modes exactly as they are sent, whatever its umask, and
        on what existed before too, also on directories; and it takes times. Times need not be
        sent.
    :param directory: ``path`` must be an existing directory; otherwise the first reply says so.
    :param encoding: how a path that is text is encoded; what came from undecodable bytes
        (surrogates, PEP 383) becomes those bytes.
    :raises InvalidAPIUseError: when no command can contain the path.
    """
    options = [(recursive, b"-r"), (preserve, b"-p"), (directory, b"-d"), (True, b"-t")]
    return _command(options, _encoded(path, encoding))


def fetch_command(
    path: str | bytes,
    *,
    recursive: bool = False,
    preserve: bool = False,
    encoding: str = "utf-8",
) -> bytes:
    """Build the command that makes the remote side send.

    :param path: what to send; one file or directory, because wildcards mean themselves.
    :param recursive: it may be a directory.
    :param preserve: times are sent. Modes always are.
    :param encoding: as for :func:`send_command`.
    :raises InvalidAPIUseError: when no command can contain the path.
    """
    options = [(recursive, b"-r"), (preserve, b"-p"), (True, b"-f")]
    return _command(options, _encoded(path, encoding))


def quote(path: bytes) -> bytes:
    """Quote a path for a POSIX shell, all but a leading ``~/`` or ``~user/``."""
    home = _HOME.match(path)
    prefix = home[0] if home else b""
    rest = path[len(prefix) :]
    if prefix and rest:
        # The slash ends what the shell replaces, so it stays outside too.
        prefix, rest = prefix + b"/", rest[1:]
    if not rest or _HARMLESS.fullmatch(rest):
        return prefix + rest
    return prefix + b"'" + rest.replace(b"'", b"'\"'\"'") + b"'"


def last_name(path: str | bytes, encoding: str = "utf-8") -> bytes | None:
    """Return the name that a copy of a remote path has, unless it is given another.

    :param path: the remote path; slashes at its end don't count.
    :param encoding: as for :func:`send_command`.
    :returns: its last component; ``None`` where that is no name of its own: ``/``, ``.``, ``..``,
        ``~`` and ``~user``.
    :raises InvalidAPIUseError: when no command can contain the path.
    """
    stripped = _encoded(path, encoding).rstrip(b"/")
    name = stripped.rpartition(b"/")[2]
    if name in (b"", b".", b"..") or _HOME.fullmatch(stripped):
        return None
    return name


def _command(options: list[tuple[bool, bytes]], path: bytes) -> bytes:
    words = [b"scp", *(option for wanted, option in options if wanted)]
    if path.startswith(b"-"):
        # Only where it is needed, for servers that take the command apart themselves.
        words.append(b"--")
    return b" ".join([*words, quote(path)])


def _encoded(path: str | bytes, encoding: str) -> bytes:
    if isinstance(path, str):
        try:
            path = path.encode(encoding, "surrogateescape")
        except UnicodeEncodeError as ex:
            raise InvalidAPIUseError(
                "The remote path %r cannot be written in %s", path, encoding
            ) from ex
    if not path:
        raise InvalidAPIUseError("A remote path cannot be empty; the home folder is '.'")
    if b"\0" in path:
        raise InvalidAPIUseError("A remote path cannot contain a NUL character: %r", path)
    return path
