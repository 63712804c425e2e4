"""The mode in which a file on an SFTP server is opened."""

from __future__ import annotations

from pssh.sftp import constants

_FLAGS = {
    "r": constants.SSH_FXF_READ,
    "w": constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_TRUNC,
    "a": constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_APPEND,
    "x": constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_EXCL,
}


def flags_for(mode: str) -> tuple[int, str]:
    """Read the mode of :func:`open`.

    :param mode: such as ``"r"`` or ``"wb+"``.
    :returns: ``SSH_FXF_…``, combined, and the mode in the order that :class:`io.FileIO` has.
    :raises ValueError: when there is no such mode, or it is one for text.
    """
    if "t" in mode:
        raise ValueError(
            f"Remote files are binary, and cannot be opened with mode {mode!r}: "
            "put an io.TextIOWrapper around one"
        )
    kinds = [each for each in mode if each in _FLAGS]
    if len(kinds) != 1 or len(set(mode)) != len(mode) or set(mode) - set("rwaxb+"):
        raise ValueError(f"{mode!r} is no mode: it takes one of r, w, a and x, and maybe b and +")
    (kind,) = kinds
    if "+" in mode:
        both = constants.SSH_FXF_READ | constants.SSH_FXF_WRITE
        return _FLAGS[kind] | both, f"{kind}b+"
    return _FLAGS[kind], f"{kind}b"
