"""What the benchmark makes of its figures."""

from __future__ import annotations

from benchmarks.bench import turn
from benchmarks.outcome import Outcome
from benchmarks.peer import ASYNCSSH, LIBSSH, NATIVE


def test_everybody_begins_in_turn() -> None:
    peers = (NATIVE, LIBSSH, ASYNCSSH)
    assert {turn(peers, number)[0] for number in range(3)} == set(peers)
    assert sorted(peer.name for peer in turn(peers, 4)) == sorted(peer.name for peer in peers)


def test_a_run_that_fails_may_be_repeated_once_and_then_nothing_of_the_peer_counts() -> None:
    outcome = Outcome({"ours": [{"wall": 1.0}, {"wall": 3.0}]})
    assert outcome.repeat("ours")
    assert not outcome.repeat("ours")
    assert outcome.median("ours", lambda figures: figures["wall"]) == 2.0
    outcome.fail("ours", "FAILED")
    assert outcome.median("ours", lambda figures: figures["wall"]) is None


def test_a_wall_time_is_the_servers_when_it_keeps_all_processors_busy() -> None:
    def run(server: float, cpu: float) -> dict[str, float]:
        return {"wall": 1.0, "cores": 2, "server": server, "proxy": 0.0, "cpu": cpu}

    outcome = Outcome({"busy": [run(1.5, 0.3)], "idle": [run(0.5, 0.2)], "own": [run(0.5, 1.4)]})
    assert [outcome.is_the_servers(name) for name in ("busy", "idle", "own")] == [
        True,
        False,
        False,
    ]
