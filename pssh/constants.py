"""Defaults that user code may refer to by name."""

from typing import Final

DEFAULT_RETRIES: Final = 3
"""Attempts to connect and authenticate before a client gives up."""

RETRY_DELAY: Final = 5
"""Seconds between two attempts."""

DEFAULT_PORT: Final = 22
"""The port that is assigned to SSH (RFC 4253 section 4)."""

DEFAULT_POOL_SIZE: Final = 100
"""How many hosts a parallel client works on at the same time."""
