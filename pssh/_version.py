"""The version of this release, in the one place that `setup.py` and the package both read."""

__version__ = "3.0.0.dev0"
