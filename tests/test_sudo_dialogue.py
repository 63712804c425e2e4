"""`pssh.clients.base.sudo`: the password goes to sudo, once, and nobody else's output is lost."""

from __future__ import annotations

import itertools
import subprocess
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from pssh.clients.base.seam import STDERR, STDOUT
from pssh.clients.base.sudo import SudoDialogue

CUTS = st.lists(st.integers(min_value=0, max_value=150), max_size=8)


@cache
def started(dialogue: SudoDialogue) -> bytes:
    """What the small shell prints once sudo has let it through, as a real shell prints it."""
    ran = subprocess.run(f"{dialogue.wrapper} true", shell=True, check=True, capture_output=True)
    assert ran.stdout == b""
    assert ran.stderr != b""
    return ran.stderr


def receive(dialogue: SudoDialogue, data: bytes, places: list[int]) -> tuple[bytes, list[int]]:
    """Give a dialogue bytes in chunks as a command does until it has passed.

    :returns: what was passed on, and after which byte a password was wanted.
    """
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    passed_on, wanted = b"", []
    for begin, end in itertools.pairwise(edges):
        if dialogue.passed:
            passed_on += data[begin:end]
            continue
        passed_on += dialogue.receive(data[begin:end])
        if dialogue.wants_password:
            dialogue.wants_password = False
            wanted.append(end)
    return passed_on, wanted


@given(CUTS, st.binary(max_size=60), st.sampled_from([b"", b"\n", b"\r\n"]))
@settings(max_examples=40, deadline=None)
def test_a_password_is_asked_for_and_accepted(
    places: list[int], output: bytes, after_password: bytes
) -> None:
    dialogue = SudoDialogue("secret", STDOUT)
    prompt = dialogue.prompt.encode()
    told, wanted = receive(dialogue, prompt, places)
    assert (told, len(wanted)) == (b"", 1)
    rest = after_password + started(dialogue) + output
    passed_on, wanted = receive(dialogue, rest, places)
    assert passed_on == output
    assert wanted == []
    assert dialogue.passed
    assert not dialogue.refused


@given(CUTS, st.binary(max_size=60))
@settings(max_examples=40, deadline=None)
def test_no_password_is_asked_for(places: list[int], output: bytes) -> None:
    dialogue = SudoDialogue("secret", STDERR)
    passed_on, wanted = receive(dialogue, started(dialogue) + output, places)
    assert (passed_on, wanted) == (output, [])
    assert dialogue.passed


@given(CUTS)
def test_a_password_that_is_refused(places: list[int]) -> None:
    dialogue = SudoDialogue("secret", STDERR)
    prompt = dialogue.prompt.encode()
    _, wanted = receive(dialogue, prompt, places)
    assert len(wanted) == 1
    assert not dialogue.refused
    receive(dialogue, b"\nSorry, try again.\n" + prompt, places)
    assert dialogue.refused
    assert not dialogue.passed


def test_what_sudo_says_when_it_runs_nothing() -> None:
    dialogue = SudoDialogue("secret", STDERR)
    told = dialogue.receive(b"sudo: unable to resolve host\n[pssh-")
    told += dialogue.receive(dialogue.prompt.encode())
    told += dialogue.receive(b"\nSorry.\n")
    assert told + dialogue.rest() == b"sudo: unable to resolve host\n[pssh-\nSorry.\n"
    assert dialogue.rest() == b""
    assert not dialogue.passed
    assert not dialogue.refused


def test_the_only_try() -> None:
    said = b"\nsudo: 1 incorrect password attempt\n"
    dialogue = SudoDialogue("secret", STDERR)
    dialogue.receive(dialogue.prompt.encode() + said)
    assert not dialogue.refused
    assert dialogue.rest() == said
    assert dialogue.refused
    dialogue = SudoDialogue("secret", STDERR)
    dialogue.receive(said)
    assert dialogue.rest() == said
    assert not dialogue.refused


def test_a_command_line_that_sudo_shows_is_no_start() -> None:
    dialogue = SudoDialogue("secret", STDERR)
    said = f"Sorry, you may not run {dialogue.wrapper}\n".encode()
    told = dialogue.receive(said)
    assert not dialogue.passed
    assert told + dialogue.rest() == said


def test_words_differ_each_time_and_hide_the_password() -> None:
    one, other = SudoDialogue("secret", STDERR), SudoDialogue("secret", STDERR)
    assert one.prompt != other.prompt
    assert started(one) != started(other)
    assert started(one) != one.prompt.encode()
    assert "secret" not in repr(one) + one.prompt + one.wrapper
    assert one.answer() == b"secret\n"


def test_another_dialogues_prompt_is_output() -> None:
    dialogue = SudoDialogue("secret", STDERR)
    foreign = SudoDialogue("other", STDERR).prompt.encode()
    told = dialogue.receive(foreign + b"\n")
    assert told + dialogue.rest() == foreign + b"\n"
    assert not dialogue.wants_password
