"""Writing doc/performance.rst with its pictures."""

from __future__ import annotations

import os
import subprocess

from benchmarks.environment import CHECKOUT, CI, Environment
from benchmarks.page import PATH as PAGE
from benchmarks.page import Page
from benchmarks.store import PATH as FIGURES
from benchmarks.store import Store

PLOTS = Environment("plots", "matplotlib>=3.8,<4", has_checkout=True)


def draw(store: Store) -> None:
    """Write the page and the pictures anew from what is in the store."""
    Page(store).write()
    PLOTS.set_up()
    folder = PAGE.with_suffix("")
    subprocess.run(
        [str(PLOTS.python), "-m", "benchmarks.plots", str(FIGURES), str(folder)],
        check=True,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CI}"},
    )
