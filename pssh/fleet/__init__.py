"""Rules for work on many hosts, and what has become of each of them. Pure."""

from pssh.fleet.observer import Observer
from pssh.fleet.result import FleetResult, HostResult
from pssh.fleet.rollout import Rollout
from pssh.fleet.state import HostState

__all__ = ["FleetResult", "HostResult", "HostState", "Observer", "Rollout"]
