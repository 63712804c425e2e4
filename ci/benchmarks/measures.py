"""All that can be measured."""

from __future__ import annotations

from benchmarks.command_measures import COMMAND_MEASURES
from benchmarks.connect_measures import CONNECT_MEASURES
from benchmarks.file_measures import FILE_MEASURES

MEASURES = (*CONNECT_MEASURES, *COMMAND_MEASURES, *FILE_MEASURES)
