"""What this machine allows anybody: bytes over loopback, and ciphers. Runs with cryptography."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from benchmarks.gauge import Figures, Settings, work

SIZE = 2 * 1024**3
PIECE = 256 * 1024
#: The largest packet that servers send.
PACKET = 32 * 1024
SECONDS = 0.5


def limits(_settings: Settings) -> Figures:
    """All of them: MB/s, and CPU seconds for the keys of a connection."""
    packet, nonce = bytes(PACKET), bytes(12)
    gcm, chacha = AESGCM(bytes(16)), ChaCha20Poly1305(bytes(32))
    started = time.perf_counter()
    tcp = loopback_rate()
    return {
        "tcp": tcp,
        "aes128-gcm": PACKET / 1e6 / seconds_of(lambda: gcm.encrypt(nonce, packet, b"")),
        "chacha20-poly1305": PACKET / 1e6 / seconds_of(lambda: chacha.encrypt(nonce, packet, b"")),
        "keys": seconds_of(keys_of_a_connection),
        "cpu": time.process_time(),
        "wall": time.perf_counter() - started,
    }


def loopback_rate() -> float:
    """MB/s from one process to another over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pid = os.fork()
        if pid == 0:
            with socket.create_connection(server.getsockname()) as sock:
                piece = bytes(PIECE)
                for _ in range(SIZE // PIECE):
                    sock.sendall(piece)
            os._exit(0)
        sock, _ = server.accept()
        buffer = bytearray(PIECE)
        received = 0
        started = time.perf_counter()
        with sock:
            while count := sock.recv_into(buffer):
                received += count
        wall = time.perf_counter() - started
        os.waitpid(pid, 0)
    assert received == SIZE
    return received / wall / 1e6


def keys_of_a_connection() -> None:
    """What a client calculates: an exchange with curve25519, a signature, and one to check."""
    other = X25519PrivateKey.generate().public_key()
    X25519PrivateKey.generate().exchange(other)
    key = Ed25519PrivateKey.generate()
    key.public_key().verify(key.sign(b"data"), b"data")


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes on average."""
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        call()
        count += 1
    return elapsed / count


if __name__ == "__main__":
    work({"limits": limits})
