"""What is closed when it is no longer needed."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import TypeVar

_Self = TypeVar("_Self", bound="Closing")


class Closing:
    """A context manager that closes itself at the end."""

    @abstractmethod
    def close(self) -> None:
        """Close it. Again does nothing."""

    def _interrupt(self) -> None:
        """End what goes on, after Ctrl-C, for which closing may come too early."""
        return

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                self._interrupt()
        finally:
            self.close()
