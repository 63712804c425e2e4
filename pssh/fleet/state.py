"""How far work on a host has come. Pure."""

from __future__ import annotations

from enum import Enum


class HostState(Enum):
    """How far work on a host has come. The last four are how it ends."""

    #: Its turn has not come.
    WAITING = "waiting"
    #: The connection is being made, and the user logged in.
    CONNECTING = "connecting"
    #: There is a connection, and what was asked for is being done.
    RUNNING = "running"
    #: It was done. Of a command: it ended with exit code 0.
    OK = "ok"
    #: It went wrong, or came to no end, after the host had been reached.
    FAILED = "failed"
    #: No connection came about, or the user was not let in: nothing was done there.
    UNREACHABLE = "unreachable"
    #: It was over before the host had its turn: nothing was done there.
    NOT_TRIED = "not tried"

    @property
    def final(self) -> bool:
        """Whether this is how work on a host ends."""
        return self in FINAL_STATES


FINAL_STATES = (HostState.OK, HostState.FAILED, HostState.UNREACHABLE, HostState.NOT_TRIED)
