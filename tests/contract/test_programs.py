"""What is said of programs of their own: nothing that goes wrong in one goes unseen."""

from __future__ import annotations

import pytest

from tests.contract import programs
from tests.contract.programs import RunProgram


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("print('something')", "something"),
        ("open('/dev/null'); gc.collect()", "ResourceWarning"),
        ("import faulthandler; faulthandler._sigsegv()", "Segmentation fault"),
        ("os.kill(os.getpid(), 9)", "exit code -9"),
        ("sys.exit(3)", "exit code 3"),
        ("import atexit; atexit.register(print, 'at the end')", "at the end"),
        ("class A: __del__ = lambda self: os.write(1, b'deleted')\nkept = A()", "deleted"),
    ],
)
def test_a_failure(run_program: RunProgram, source: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        run_program(source)


def test_one_that_hangs(run_program: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(programs, "TIMEOUT", 0.2)
        with pytest.raises(AssertionError, match="has not ended"):
            run_program("import time; time.sleep(600)")
    run_program("")


def test_what_one_begins_with(run_program: RunProgram) -> None:
    run_program("""
        from gevent._hub_local import get_hub_if_exists
        assert get_hub_if_exists() is None
        # The last is the folder itself.
        assert sorted(map(int, os.listdir("/proc/self/fd"))) == [0, 1, 2, 3]
    """)
