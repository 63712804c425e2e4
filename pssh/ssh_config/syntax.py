"""Lines of ssh_config(5) and the words in them."""

from __future__ import annotations

from pssh.exceptions import SSHConfigError

_SPACE = " \t\r\n"
#: A form feed counts as space at the end of a line only.
_END = _SPACE + "\f"


def keyword(line: str) -> tuple[str, str] | None:
    """Split a line into its keyword and the rest, which may be separated by ``=``.

    :returns: ``None`` for an empty line or a comment.
    :raises SSHConfigError: when a quote is not closed.
    """
    text = line.rstrip(_END).lstrip(_SPACE)
    if not text or text.startswith("#"):
        return None
    name, rest = _delimited(text)
    return name, rest.lstrip(_SPACE)


def words(text: str) -> list[str]:
    """Split arguments into words, up to a comment.

    Quotes of both kinds keep words together. A backslash takes its meaning from a quote, from a
    backslash and, outside of quotes, from a space.

    :raises SSHConfigError: when a quote is not closed.
    """
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
        elif text[at] == "#":
            break
        else:
            word, at = _word(text, at)
            found.append(word)
    return found


def _word(text: str, at: int) -> tuple[str, int]:
    word, quote = [], ""
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if char == "\\" and (following in ("'", '"', "\\") or (following == " " and not quote)):
            word.append(following)
            at += 1
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char in " \t":
            break
        else:
            word.append(char)
        at += 1
    if quote:
        raise SSHConfigError("a quote is not closed")
    return "".join(word), at


def criteria(text: str) -> list[str]:
    """Split the arguments of ``Match`` into words, up to a comment; only ``"`` quotes.

    :raises SSHConfigError: when a quote is not closed.
    """
    found = []
    while text and not text.startswith("#"):
        word, text = _delimited(text)
        found.append(word)
    return found


def _delimited(text: str) -> tuple[str, str]:
    """Take a word that space, a quotation or one ``=`` ends."""
    ends = [at for at in map(text.find, (*_SPACE, '"', "=")) if at >= 0]
    if not ends:
        return text, ""
    at = min(ends)
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            raise SSHConfigError("a quote is not closed")
        return text[:at] + text[at + 1 : end], text[end + 1 :].lstrip(_SPACE)
    rest = text[at + 1 :].lstrip(_SPACE)
    if text[at] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(_SPACE)
    return text[:at], rest
