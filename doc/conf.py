"""Settings of Sphinx for the documentation."""

import re
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

_found = re.search(r'"(.+)"', (CHECKOUT / "pssh" / "_version.py").read_text().splitlines()[-1])
assert _found is not None

project = "parallel-ssh"
release = _found.group(1)
extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
