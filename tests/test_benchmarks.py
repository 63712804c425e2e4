"""What the benchmark makes of its figures."""

from __future__ import annotations

from pathlib import Path

import docutils.core
import pytest
from benchmarks import guard, page
from benchmarks.bench import turn
from benchmarks.fit import exponent
from benchmarks.gauge import Figures
from benchmarks.guard import Ratio, Verdict
from benchmarks.measures import MEASURES
from benchmarks.outcome import Outcome
from benchmarks.page import Page
from benchmarks.peer import ASYNCSSH, LIBSSH, NATIVE
from benchmarks.quick_measures import QUICK_MEASURES, RATIOS
from benchmarks.store import PATH, Store
from benchmarks.tables import number, simple_table, spread


def run(wall: float = 1.0, cpu: float = 0.1, server: float = 0.0) -> Figures:
    return {"wall": wall, "cpu": cpu, "server": server, "proxy": 0.0, "cores": 2, "most": 1024}


def test_everybody_begins_in_turn() -> None:
    peers = (NATIVE, LIBSSH, ASYNCSSH)
    assert {turn(peers, number)[0] for number in range(3)} == set(peers)
    assert sorted(peer.name for peer in turn(peers, 4)) == sorted(peer.name for peer in peers)


def test_a_run_that_fails_may_be_repeated_once_and_then_nothing_of_the_peer_counts() -> None:
    outcome = Outcome({"ours": [run(wall=1), run(wall=3)]})
    assert outcome.repeat("ours")
    assert not outcome.repeat("ours")
    assert outcome.median("ours", lambda figures: figures["wall"]) == 2.0
    outcome.fail("ours", "FAILED")
    assert outcome.median("ours", lambda figures: figures["wall"]) is None


def test_what_failed_at_one_of_two_times_has_failed() -> None:
    outcome = Outcome({"ours": [run(wall=1)], "other": [run()]})
    again = Outcome({"ours": [run(wall=3)], "other": []}, {"other": "FAILED"})
    outcome.add(again)
    assert outcome.median("ours", lambda figures: figures["wall"]) == 2.0
    assert outcome.median("other", lambda figures: figures["wall"]) is None


def test_a_figure_that_runs_do_not_have_counts_for_nothing() -> None:
    assert Outcome({"ours": [run()]}).median("ours", lambda figures: figures["after"]) is None


def test_a_wall_time_is_the_servers_when_it_keeps_all_processors_busy() -> None:
    outcome = Outcome(
        {
            "busy": [run(server=1.5, cpu=0.3)],
            "idle": [run(server=0.5, cpu=0.2)],
            "own": [run(server=0.5, cpu=1.4)],
        }
    )
    found = [name for name in outcome.runs if outcome.is_the_servers(name)]
    assert found == ["busy"]


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_an_exponent_is_found(power: float) -> None:
    assert exponent([(x, 3 * x**power) for x in (10, 100, 1000)]) == pytest.approx(power)


def test_one_point_has_no_exponent() -> None:
    assert exponent([(10, 1.0), (10, 2.0)]) is None
    assert exponent([]) is None


@pytest.mark.parametrize(
    ("now", "kept", "good", "said"),
    [
        (1.25, 1.0, True, "ok"),
        (1.26, 1.0, False, "WORSE"),
        (0.5, 1.0, True, "ok"),
        (9.0, None, True, "new"),
        (None, 1.0, False, "FAILED"),
        (None, None, False, "FAILED"),
    ],
)
def test_a_ratio_that_got_worse_by_more_than_a_quarter_is_not_good(
    now: float | None, kept: float | None, good: bool, said: str
) -> None:
    verdict = Verdict("ratio", now, kept)
    assert verdict.is_good == good
    assert str(verdict) == said


def test_ratios_that_could_not_be_measured_stay_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "ratios.json"
    guard.keep({"a": 1.0, "b": 2.0}, path)
    guard.keep({"a": None, "b": 3.00001}, path)
    assert guard.read_kept(path) == {"a": 1.0, "b": 3.0}
    assert [each.kept for each in guard.verdicts({"b": 1.0, "c": 1.0}, {"b": 3.0})] == [3.0, None]


def test_a_ratio_is_ours_through_theirs() -> None:
    ratio = Ratio("quick-connect", "cpu", NATIVE, ASYNCSSH)
    outcome = Outcome({"native": [run(cpu=1)], "asyncssh": [run(cpu=4)]})
    assert ratio.value(outcome) == 0.25
    outcome.fail("asyncssh", "> 60 s")
    assert ratio.value(outcome) is None


def test_the_guard_looks_at_what_is_measured() -> None:
    measured = {measure.name: measure.peers for measure in QUICK_MEASURES}
    for ratio in RATIOS:
        assert {ratio.client, ratio.peer} <= {*measured[ratio.measure]}, ratio.name
    assert guard.read_kept().keys() == {ratio.name for ratio in RATIOS}


def test_figures_and_tables_as_text() -> None:
    assert [number(value) for value in (0.0123, 0.996, 1.5, 12.34, 1234.5)] == [
        "0.012",
        "1.00",
        "1.50",
        "12.3",
        "1,234",
    ]
    assert spread([2.0], " †") == "2.00 †"
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00-3.00)"
    text = simple_table(("", "s"), [("ours", "1.00"), ("theirs", "")])
    assert text.splitlines() == [
        "======  ====",
        "-       s",
        "======  ====",
        "ours    1.00",
        "theirs  -",
        "======  ====",
    ]


def test_measuring_something_again_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    store = Store(path)
    store.add("hosts-10", Outcome({"native": [run(wall=1.234567)]}), "a machine", {"ours": "1"})
    wrong = Outcome({"native": [run(wall=2)]}, {"pdsh": "> 60 s"}, {"native": 1})
    wrong.runs["native"][0]["wrong"] = 1
    store.add("hosts-100", wrong, "it", {})
    store = Store(path)
    store.add("hosts-10", Outcome({"native": [run(wall=5)]}), "another", {"ours": "2"})
    store = Store(path)
    assert store.outcome("hosts-10").runs["native"][0]["wall"] == 5
    assert store.outcome("hosts-100").runs["native"][0]["wall"] == 2
    assert store.outcome("hosts-100").failures == {"pdsh": "> 60 s"}
    assert store.outcome("never measured").runs == {}
    text = str(Page(store))
    assert "> 60 s" in text
    assert "another" in text
    assert "2.00 ‡ §" in text


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    docutils.core.publish_string(
        str(Page(Store(tmp_path / "none.json"))),
        writer="null",
        settings_overrides={"halt_level": 2, "report_level": 2},
    )


def test_the_page_shows_the_figures_that_are_kept() -> None:
    """``ci/bench --draw`` writes it anew."""
    assert page.PATH.read_text(encoding="utf-8") == str(Page(Store()))


def test_every_figure_that_is_kept_has_a_measure() -> None:
    assert Store(PATH).entries.keys() <= {measure.name for measure in MEASURES}
