"""The dialogue with sudo about a password."""

from __future__ import annotations

import secrets

from gevent.event import Event

#: Sudo says no more than this; a server that does is not running it.
_HELD_MAX = 64 * 1024

#: What sudo says at its end. In other languages it cannot be told from other reasons.
_INCORRECT = b"incorrect password attempt"


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
        self._asked = 0
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
        # Not the word itself: sudo prints the whole command when it does not allow it.
        template = self._started.replace("started", "%s")
        return f'sh -c \'printf "{template}" started >&2; exec "$@"\' sh'

    def answer(self) -> bytes:
        """Return what to send when sudo asks."""
        return self._password.encode() + b"\n"

    def receive(self, data: bytes) -> bytes:
        """Take output, and return what of it is the command's own.

        Until sudo lets the command run, what comes is sudo's: its question, the line feed
        after the answer, a lecture. It is held until it is known how that ends.
        """
        self._held += data
        prompt = self.prompt.encode()
        before, found, after = self._held.partition(self._started.encode())
        if found:
            self.passed = True
            self._held = b""
            return after
        asked = before.count(prompt)
        self.wants_password = asked > self._asked and not self._asked
        self.refused = asked > 1
        self._asked = asked
        if len(self._held) > _HELD_MAX:
            return self.rest()
        return b""

    def rest(self) -> bytes:
        """Return what sudo said when the command was not run after all."""
        held, self._held = self._held, b""
        # Where it may be tried only once (sudoers: passwd_tries) sudo does not ask again.
        self.refused = self.refused or (self._asked > 0 and _INCORRECT in held)
        return held.replace(self.prompt.encode() + b"\r\n", b"").replace(self.prompt.encode(), b"")
