"""Which ciphers come first on which processor."""

from __future__ import annotations

import pytest

from pssh.clients.base import algorithms

GCM, CHACHA, COUNTER = "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"
AES = frozenset({"aes"})
SHA = AES | {"sha_ni"}
WIDE = SHA | {"vaes", "vpclmulqdq", "avx512f", "avx512dq", "avx512bw", "avx512vl"}


@pytest.mark.parametrize(
    ("features", "first", "first_for_few_bytes"),
    [
        (frozenset(), CHACHA, CHACHA),
        (AES, GCM, GCM),
        (SHA, GCM, COUNTER),
        (AES | {"sha2"}, GCM, COUNTER),
        (WIDE - {"avx512vl"}, GCM, COUNTER),
        (WIDE, GCM, GCM),
        (None, GCM, GCM),
    ],
)
def test_the_first_cipher(
    monkeypatch: pytest.MonkeyPatch,
    features: frozenset[str] | None,
    first: str,
    first_for_few_bytes: str,
) -> None:
    monkeypatch.setattr(algorithms, "_processor_features", lambda: features)
    orders = [algorithms.ciphers(few_bytes_at_a_time=few) for few in (False, True)]
    assert [order[0] for order in orders] == [first, first_for_few_bytes]
    # All are offered all the same.
    assert set(orders[0]) == set(orders[1]) > {GCM, CHACHA, COUNTER}
