"""The log of a container and the frames of its supervisor: nothing is lost, everything is bounded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.container.detach_keys import KeyScanner, parse_keys
from oci.container.frames import MAX_FRAME, STDERR, STDOUT, Unframer, frame
from oci.container.log_writer import MAX_PIECE, LogWriter
from oci.container.logs import LogLine, read_log
from oci.container.signals import parse_signal
from oci.errors import ConfigurationError, InvalidInput
from oci.storage.ending import Ending, of_wait_status

SECOND = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def writer(folder: int, **limits: int) -> LogWriter:
    ticks = iter(range(1, 10**9))
    return LogWriter(folder, clock=lambda: next(ticks) * SECOND, **limits)


def joined(lines: Iterator[LogLine], stream: str = "stdout") -> bytes:
    return b"".join(line.data for line in lines if line.stream == stream)


def test_a_record_has_the_keys_of_docker(folder: int, tmp_path: Path) -> None:
    log = writer(folder)
    log.write("stderr", b'say "hi" \xe2\x82\xac\n')
    log.close()
    assert json.loads((tmp_path / "log.json").read_text()) == {
        "log": 'say "hi" €\n',
        "stream": "stderr",
        "time": "1970-01-01T00:00:01.000000000Z",
    }


def test_bytes_that_are_no_utf8_come_back_as_they_were(folder: int, tmp_path: Path) -> None:
    data = bytes(range(256)) * 3 + b"\xed\xb3\xbf\xc3\n"
    log = writer(folder)
    for start in range(0, len(data), 7):
        log.write("stdout", data[start : start + 7])
    log.close()
    assert joined(read_log(str(tmp_path))) == data
    for line in (tmp_path / "log.json").read_bytes().splitlines():
        json.loads(line)


def test_a_line_without_end_is_logged_in_pieces_that_cut_no_character(folder: int, tmp_path: Path) -> None:
    data = "€".encode() * MAX_PIECE
    log = writer(folder)
    log.write("stdout", b"x" + data + b"\nnext\nprompt: ")
    assert log.waiting
    log.flush()
    log.close()
    lines = list(read_log(str(tmp_path)))
    assert joined(iter(lines)) == b"x" + data + b"\nnext\nprompt: "
    assert all(len(line.data) <= MAX_PIECE for line in lines)
    for line in lines:
        line.data.decode()


def test_streams_do_not_mix_in_a_line(folder: int, tmp_path: Path) -> None:
    log = writer(folder)
    log.write("stdout", b"a")
    log.write("stderr", b"b\n")
    log.write("stdout", b"c\n")
    log.close()
    assert [(line.data, line.stream) for line in read_log(str(tmp_path))] == [(b"b\n", "stderr"), (b"ac\n", "stdout")]


@pytest.mark.parametrize("chunk", [1, 5000, 1 << 20])
def test_rotation_keeps_the_newest_lines_and_bounds_the_files(folder: int, tmp_path: Path, chunk: int) -> None:
    data = b"".join(b"line %d\n" % number for number in range(5000 if chunk > 1 else 500))
    log = writer(folder, max_size=4096, max_files=3)
    for start in range(0, len(data), chunk):
        log.write("stdout", data[start : start + chunk])
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.json", "log.json.1", "log.json.2"]
    assert all(path.stat().st_size <= 4096 for path in tmp_path.iterdir())
    kept = joined(read_log(str(tmp_path)))
    assert data.endswith(kept)
    assert len(kept) > 500


def test_one_file_is_begun_anew(folder: int, tmp_path: Path) -> None:
    log = writer(folder, max_size=200, max_files=1)
    for number in range(10):
        log.write("stdout", b"%d\n" % number)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]
    assert joined(read_log(str(tmp_path))).endswith(b"9\n")


@pytest.mark.parametrize("count", [0, 1, 3, 250, 4999, 6000])
def test_the_last_lines(folder: int, tmp_path: Path, count: int) -> None:
    log = writer(folder, max_size=40_000, max_files=50)
    lines = [b"line %d\n" % number for number in range(5000)]
    log.write("stdout", b"".join(lines))
    log.close()
    assert [line.data for line in read_log(str(tmp_path), tail=count)] == (lines[-count:] if count else [])


def test_the_last_line_may_be_in_pieces(folder: int, tmp_path: Path) -> None:
    log = writer(folder)
    log.write("stdout", b"first\n" + b"x" * (3 * MAX_PIECE) + b"\n")
    log.close()
    assert joined(read_log(str(tmp_path), tail=1)) == b"x" * (3 * MAX_PIECE) + b"\n"


def test_a_record_cut_by_a_crash_is_passed_over(folder: int, tmp_path: Path) -> None:
    log = writer(folder)
    log.write("stdout", b"one\n")
    log.close()
    with open(tmp_path / "log.json", "ab") as file:
        file.write(b'{"log":"tw')
    log = writer(folder)
    log.write("stdout", b"three\n")
    log.close()
    assert joined(read_log(str(tmp_path))) == b"one\nthree\n"


def test_following_goes_on_over_a_rotation(folder: int, tmp_path: Path) -> None:
    log = writer(folder, max_size=150, max_files=4)
    log.write("stdout", b"0\n")
    numbers = iter(range(1, 6))

    def alive() -> bool:
        number = next(numbers, None)
        if number is None:
            return False
        log.write("stdout", b"%d\n" % number)
        return True

    assert joined(read_log(str(tmp_path), alive=alive)) == b"0\n1\n2\n3\n4\n5\n"
    log.close()


def test_a_full_disk_loses_lines_but_stops_nobody(folder: int, tmp_path: Path) -> None:
    log = writer(folder)
    log.write("stdout", b"kept\n")
    fd = os.open("/dev/full", os.O_WRONLY)
    os.dup2(fd, log._fd)
    os.close(fd)
    log.write("stdout", b"lost\n")
    assert log.lost > 0
    log.close()
    assert joined(read_log(str(tmp_path))) == b"kept\n"


def test_frames_come_out_however_they_are_cut() -> None:
    raw = frame(STDOUT, b"one") + frame(STDERR, b"") + frame(STDOUT, bytes(MAX_FRAME))
    for size in (1000, 3, len(raw)):
        unframer, found = Unframer(), list[tuple[int, bytes]]()
        for start in range(0, len(raw), size):
            found += unframer.feed(raw[start : start + size])
        assert [(kind, len(data)) for kind, data in found] == [(STDOUT, 3), (STDERR, 0), (STDOUT, MAX_FRAME)]


def test_a_frame_that_claims_too_much_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most"):
        list(Unframer().feed(b"\x13\xff\xff\xff\xff"))


def test_detach_keys_are_found_in_any_pieces_and_nothing_else_is_lost() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("a,ctrl-@,ctrl-_") == b"a\x00\x1f"
    for typed, sent in ((b"ab\x10\x11rest", b"ab"), (b"\x10\x10\x11", b"\x10"), (b"\x10x\x10\x11", b"\x10x")):
        scanner, out = KeyScanner(b"\x10\x11"), b""
        for byte in typed:
            out += scanner.feed(bytes([byte]))
            if scanner.found:
                break
        assert scanner.found
        assert out == sent
    assert KeyScanner(b"aab").feed(b"aaab") == b"a"
    for text in ("ctrl-", "ctrl-ä", "ab", ",", "ctrl-1"):
        with pytest.raises(InvalidInput):
            parse_keys(text)


def test_signals_by_name_and_number() -> None:
    assert [parse_signal(text) for text in ("TERM", "sigterm", "15", 15)] == [15] * 4
    assert parse_signal("RTMIN+3") == 37
    assert parse_signal("SIGRTMAX-1") == 63
    for text in ("", "0", "65", "FOO", "RTMIN+99", "SIG", "-9"):
        with pytest.raises(ConfigurationError):
            parse_signal(text)


def test_an_ending_comes_back_and_half_of_one_does_not(tmp_path: Path) -> None:
    ending = of_wait_status(9, started=5, clock=lambda: 7)
    assert (ending.exit_code, ending.signal) == (137, 9)
    assert of_wait_status(3 << 8, started=5, clock=lambda: 7).exit_code == 3
    assert of_wait_status(None, started=5, clock=lambda: 7).exit_code is None
    ending.write(str(tmp_path))
    assert Ending.read(str(tmp_path)) == ending
    raw = (tmp_path / "exit.json").read_bytes()
    for half in (b"", raw[:20], b"[]", b'{"finished": "x"}'):
        (tmp_path / "exit.json").write_bytes(half)
        assert Ending.read(str(tmp_path)) is None
