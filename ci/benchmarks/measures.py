"""All that can be measured."""

from __future__ import annotations

from benchmarks.command_measures import COMMAND_MEASURES
from benchmarks.connect_measures import CONNECT_MEASURES
from benchmarks.file_measures import FILE_MEASURES
from benchmarks.measure import Measure, Row
from benchmarks.peer import MACHINE
from benchmarks.proxy_measures import PROXY_MEASURES

LIMITS = Measure(
    "limits",
    "limits",
    {},
    (
        Row("loopback TCP, MB/s", lambda figures: figures["tcp"]),
        Row("AES-128-GCM, packets of 32 KiB, MB/s", lambda figures: figures["aes128-gcm"]),
        Row("ChaCha20-Poly1305, MB/s", lambda figures: figures["chacha20-poly1305"]),
        Row("the keys of a connection, CPU ms", lambda figures: figures["keys"] * 1000),
    ),
    (MACHINE,),
)

MEASURES = (LIMITS, *CONNECT_MEASURES, *COMMAND_MEASURES, *FILE_MEASURES, *PROXY_MEASURES)
