"""The dialogue with sudo about a password."""

from __future__ import annotations

import secrets

from gevent.event import Event


class SudoDialogue:
    """Answers sudo's question, once, and nobody else's.

    The prompt that sudo is given is a word that nothing else prints, and so is what a small
    shell prints once sudo has let it through. So the password goes to sudo, and only when
    it asks; and the command's own input begins after that.

    :param password: the password.
    :param stream: where sudo asks: standard error, or the only stream that a pty has.
    """

    __slots__ = (
        "_asked",
        "_held",
        "_password",
        "_started",
        "over",
        "passed",
        "prompt",
        "refused",
        "stream",
        "wants_password",
    )

    def __init__(self, password: str, stream: int) -> None:
        self.stream = stream
        token = secrets.token_hex(8)
        self.prompt = f"[pssh-sudo-{token}]"
        self._started = f"[pssh-started-{token}]"
        self._password = password
        self._held = b""
        self._asked = False
        self.wants_password = False
        self.refused = False
        self.passed = False
        #: Set when the command runs, or will never run.
        self.over = Event()

    def __repr__(self) -> str:
        return "SudoDialogue()"

    @property
    def wrapper(self) -> str:
        """What has to stand between sudo and the command in the command line."""
        return f'sh -c \'printf %s "{self._started}" >&2; exec "$@"\' sh'

    def answer(self) -> bytes:
        """Return what to send when sudo asks."""
        return self._password.encode() + b"\n"

    def receive(self, data: bytes) -> bytes:
        """Take output, and return what of it is not part of the dialogue."""
        data = self._held + data
        self._held = b""
        prompt, started = self.prompt.encode(), self._started.encode()
        before, found, after = data.partition(started)
        if found:
            self.passed = True
            # What came before is sudo's own: its prompt, a lecture, a line feed.
            return self._without_prompt(before) + after
        if prompt in data:
            if self._asked:
                self.refused = True
            self._asked = self.wants_password = True
            return self._without_prompt(data)
        keep = _possible_beginning(data, (prompt, started))
        if keep:
            self._held = data[-keep:]
            return data[:-keep]
        return data

    def _without_prompt(self, data: bytes) -> bytes:
        return data.replace(self.prompt.encode() + b"\r\n", b"").replace(self.prompt.encode(), b"")


def _possible_beginning(data: bytes, words: tuple[bytes, ...]) -> int:
    """How many bytes at the end of the data may be the beginning of one of the words."""
    longest = max(len(word) for word in words) - 1
    for count in range(min(longest, len(data)), 0, -1):
        if any(word.startswith(data[-count:]) for word in words):
            return count
    return 0
