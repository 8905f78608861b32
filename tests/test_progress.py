"""What a long computation says where there is no terminal, and that it goes on when nobody listens."""

import io
import os
import sys

import pytest

from minires import progress
from minires.progress import Progress, nobody_need_listen


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_comes_now_and_then(clock, capsys):
    with Progress(1000, "training") as show:
        for step in range(1000):
            clock[0] += 1.0
            show.update(f"error {step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "training: 10 of 1,000, 16 min left, error 9",
        "training: 30 of 1,000, 16 min left, error 29",
        "training: 70 of 1,000, 16 min left, error 69",
    ]
    assert len(lines) == 6


def test_what_was_done_before_does_not_count_as_speed(clock, capsys):
    with Progress(100, "training", done=50) as show:
        clock[0] = 20.0
        show.update()
    assert capsys.readouterr().err == "training: 51 of 100, 16 min left\n"


@pytest.mark.parametrize("seconds, shown", [(5.0, True), (100.0, False)])
def test_a_short_computation_or_a_silent_one_says_nothing(clock, capsys, seconds, shown):
    with Progress(2, "training", shown=shown) as show:
        clock[0] = seconds
        show.update()
        show.update()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(3, "training") as show:
        for _ in range(3):
            show.update("error 5 %")
    assert "training: 100%" in sys.stderr.getvalue() and "error 5 %" in sys.stderr.getvalue()


def test_without_any_stderr_it_works_in_silence(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(3, "training") as show:
        show.update()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_writing_to_a_pipe_that_nobody_reads_goes_on(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "stdout", open(write, "w"))
    with nobody_need_listen():
        for _ in range(3):
            print("more", flush=True)
    sys.stdout.close()  # what is left in its buffer goes nowhere, without an error


def test_streams_that_are_not_there_or_closed_are_no_reason_to_stop(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", closed)
    with nobody_need_listen():
        print("out")
        print("err", file=sys.stderr)
    assert sys.stdout is None and sys.stderr is closed
