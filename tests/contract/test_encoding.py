"""From bytes to lines: encodings, and what does not decode."""

from __future__ import annotations

import pytest

from pssh.clients.base.single import BaseSSHClient
from tests.contract.conftest import ConnectAll
from tests.contract.outputs import lines, stderr, stdout

LATIN = r"printf 'caf\351\n'"


def test_utf_8_is_the_default(client: BaseSSHClient) -> None:
    output = client.run_command(r"printf 'caf\303\251\n'; printf '\342\202\254\n' >&2")
    assert lines(output) == ["café"]
    assert list(stderr(output)) == ["€"]


def test_latin_1(client: BaseSSHClient) -> None:
    output = client.run_command(f"{LATIN}; {LATIN} >&2", encoding="latin-1")
    assert lines(output) == ["café"]
    assert list(stderr(output)) == ["café"]


def test_the_command_is_encoded_too(client: BaseSSHClient) -> None:
    output = client.run_command("printf é | od -An -tx1", encoding="latin-1")
    assert output.fully_qualified_command == "$SHELL -c 'printf é | od -An -tx1'".encode("latin-1")
    assert lines(output) == [" e9"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_wide_encodings(client: BaseSSHClient, encoding: str) -> None:
    output = client.run_command("cat", stdin="é\r\nĊ\n\nlast", encoding=encoding)
    assert lines(output) == ["é", "Ċ", "", "last"]
    assert output.exit_code == 0


def test_bytes(client: BaseSSHClient) -> None:
    output = client.run_command(r"printf 'a\377\r\n\000b\n\nlast'; echo e >&2", encoding=None)
    assert lines(output) == [b"a\xff", b"\0b", b"", b"last"]
    assert list(stderr(output)) == [b"e"]


def test_a_codec_that_does_not_exist(client: BaseSSHClient) -> None:
    with pytest.raises(LookupError, match="no-such-codec"):
        client.run_command("true", encoding="no-such-codec")
    with pytest.raises(LookupError, match="no-such-handler"):
        client.run_command("true", encoding_errors="no-such-handler")
    assert lines(client.run_command("echo next")) == ["next"]


def test_a_line_that_does_not_decode(client: BaseSSHClient) -> None:
    output = client.run_command(r"printf 'one\n\377\376\nthree\n\377\nfive\n'")
    reader = stdout(output)
    assert next(reader) == "one"
    with pytest.raises(UnicodeDecodeError) as caught:
        next(reader)
    assert caught.value.object == b"\xff\xfe"
    assert next(reader) == "three"
    with pytest.raises(UnicodeDecodeError):
        list(reader)
    assert list(reader) == ["five"]
    assert output.exit_code == 0
    assert output.exception is None


def test_encoding_errors(client: BaseSSHClient) -> None:
    command = r"printf 'a\377b\n'"
    assert lines(client.run_command(command, encoding_errors="replace")) == ["a\ufffdb"]
    assert lines(client.run_command(command, encoding_errors="ignore")) == ["ab"]
    (line,) = lines(client.run_command(command, encoding_errors="surrogateescape"))
    assert line == b"a\xffb".decode("utf-8", "surrogateescape")


def test_encoding_of_several_hosts(connect_all: ConnectAll) -> None:
    outputs = connect_all(2).run_command(LATIN, encoding="latin-1")
    assert [lines(output) for output in outputs] == [["café"]] * 2
    outputs = connect_all(2).run_command(LATIN, encoding_errors="replace")
    assert [lines(output) for output in outputs] == [["caf\ufffd"]] * 2


def test_encoding_changed_before_reading(client: BaseSSHClient) -> None:
    output = client.run_command(LATIN)
    output.encoding = "latin-1"
    assert output.encoding == "latin-1"
    assert lines(output) == ["café"]


def test_encoding_changed_in_the_middle(client: BaseSSHClient) -> None:
    output = client.run_command(
        r"printf 'a\303\251\n'; printf 'b\351\n'; printf 'c\377\n'; printf 'd\n'"
    )
    client.wait_finished(output)
    reader = stdout(output)
    assert next(reader) == "aé"
    output.encoding = "latin-1"
    assert next(reader) == "bé"
    output.encoding = None
    assert next(reader) == b"c\xff"
    output.encoding = "utf-8"
    assert list(reader) == ["d"]


def test_encoding_changed_after_an_error(client: BaseSSHClient) -> None:
    output = client.run_command(r"printf '\351\nb\351\n'")
    with pytest.raises(UnicodeDecodeError):
        next(stdout(output))
    output.encoding = "latin-1"
    assert lines(output) == ["bé"]


# Line endings


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (r"a\nb\n", ["a", "b"]),
        (r"a\r\nb\r\n", ["a", "b"]),
        (r"a\r\nb\n\r\n\n", ["a", "b", "", ""]),
        (r"a\nlast", ["a", "last"]),
        (r"\n", [""]),
        (r"\n\n", ["", ""]),
        (r"a\rb\n", ["a\rb"]),
        (r"a\r\r\n", ["a\r"]),
        (r"a\fb\vc\034d\n", ["a\fb\vc\x1cd"]),
        (r"\302\205x\342\200\250y\n", ["\x85x\u2028y"]),
    ],
)
def test_line_endings(client: BaseSSHClient, printed: str, expected: list[str]) -> None:
    assert lines(client.run_command(f"printf '{printed}'")) == expected


def test_a_line_ending_in_two_packets(client: BaseSSHClient) -> None:
    output = client.run_command(r"printf 'one\r'; read answer; printf '\ntwo\n'")
    assert output.stdin is not None
    output.stdin.write("go on\n")
    assert lines(output) == ["one", "two"]


def test_a_character_in_two_packets(client: BaseSSHClient) -> None:
    output = client.run_command(r"printf '\303'; read answer; printf '\251\n'")
    assert output.stdin is not None
    output.stdin.write("go on\n")
    assert lines(output) == ["é"]


def test_a_long_line(client: BaseSSHClient) -> None:
    output = client.run_command("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end")
    assert lines(output) == ["x" * 5_000_000, "end"]
