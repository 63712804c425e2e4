"""The pictures of doc/performance.rst. Runs in an environment of its own, which has matplotlib.

``python -m benchmarks.plots FIGURES FOLDER``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks import figures as of
from benchmarks.connect_measures import EVERYBODY, HOSTS, HOSTS_FAR, ROUND_TRIPS, name_of
from benchmarks.figures import Value
from benchmarks.peer import BARE, OTHERS, OURS, PEERS, Peer
from benchmarks.store import Store

#: The same peer has the same colour everywhere. Ours are the strong ones.
COLOURS = dict(
    zip(
        [peer.name for peer in PEERS],
        [
            *("#c1121f", "#f77f00", "#e5989b", "#fcbf49", "#1d3557", "#457b9d", "#2a9d8f"),
            *("#6a4c93", "#9d4edd", "#6c757d", "#adb5bd", "#386641", "#a7c957", "#000000"),
        ],
        strict=True,
    )
)
WIDTH, HEIGHT = 8, 4.6


def draw(store: Store, folder: Path) -> None:
    """Draw all of them."""
    folder.mkdir(exist_ok=True)
    mpl.rcParams.update(
        {
            # The same figures make the same file.
            "svg.hashsalt": "pssh",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    hosts = [(count, name_of(count, 0)) for count in HOSTS]
    trips = [(trip, name_of(HOSTS_FAR, trip)) for trip in ROUND_TRIPS]
    lines(store, folder / "hosts.svg", hosts, "hosts (loopback)", logarithmic=True)
    lines(store, folder / "round-trip.svg", trips, f"round trip to {HOSTS_FAR} hosts, ms")
    throughput(store, folder / "throughput.svg")
    memory(store, folder / "memory.svg")


def lines(
    store: Store,
    path: Path,
    points: Sequence[tuple[int, str]],
    label: str,
    *,
    logarithmic: bool = False,
) -> None:
    """Wall time against something."""
    figure, axes = pyplot.subplots(figsize=(WIDTH, HEIGHT))
    for peer in EVERYBODY:
        found = [(x, store.outcome(name).median(peer.name, of.wall)) for x, name in points]
        known = [(x, y) for x, y in found if y is not None]
        if not known:
            continue
        style = ":" if peer in BARE else "-"
        width = 2.4 if peer in OURS else 1.3
        xs, ys = zip(*known, strict=True)
        axes.plot(
            xs,
            ys,
            style,
            label=peer.name,
            color=COLOURS[peer.name],
            linewidth=width,
            marker="o",
            markersize=4,
        )
    axes.set_yscale("log")
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xticks([x for x, _ in points], [f"{x:,}" for x, _ in points])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("connect + 1 command, wall s")
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda y, _: f"{y:g}"))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def throughput(store: Store, path: Path) -> None:
    """Bars for files and output; longer is better."""
    panels = [
        ("SFTP put, MB/s", "put", of.big_rate),
        ("SFTP get, MB/s", "get", of.big_rate),
        ("long lines, MB/s", "bulk", of.long_rate),
    ]
    figure, every = pyplot.subplots(1, len(panels), figsize=(WIDTH * 1.25, HEIGHT * 0.85))
    for axes, (title, measure, value) in zip(every, panels, strict=True):
        _bars(store, axes, (*OURS, *OTHERS), measure, value, title)
    _save(figure, path)


def memory(store: Store, path: Path) -> None:
    """Bars for the memory of a connection; shorter is better."""
    figure, axes = pyplot.subplots(figsize=(WIDTH, HEIGHT * 0.7))
    value = of.memory_per_host(max(HOSTS))
    name = name_of(max(HOSTS), 0)
    _bars(store, axes, EVERYBODY, name, value, f"KiB for each of {max(HOSTS):,} open connections")
    _save(figure, path)


def _bars(
    store: Store, axes: Any, peers: Sequence[Peer], measure: str, value: Value, title: str
) -> None:
    found = [(peer.name, store.outcome(measure).median(peer.name, value)) for peer in peers]
    known = [(name, y) for name, y in reversed(found) if y is not None]
    names, values = [name for name, _ in known], [y for _, y in known]
    bars = axes.barh(names, values, color=[COLOURS[name] for name in names])
    axes.bar_label(bars, fmt="%.3g", fontsize=8, padding=2)
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.18)
    axes.tick_params(labelsize=8)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


if __name__ == "__main__":
    mpl.use("svg")
    draw(Store(Path(sys.argv[1])), Path(sys.argv[2]))
