"""Data on stdout, talk on stderr, and bars only for who can see them."""

import io
import itertools
import sys

import pytest

import editcore.cli.bars as bars
from editcore.cli.output import Output


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_table_elsewhere_than_on_a_terminal_is_aligned_plain_text(capsys):
    Output().table(["name", "n", "note"], [["a", 10, None], ["longer", 2, "[bold]two\nlines"]])
    assert capsys.readouterr().out == "name    n   note\na       10\nlonger  2   [bold]two lines\n"


def test_wide_characters_and_marks_count_as_the_cells_that_they_take(capsys):
    Output().table(["name", "n"], [["東京", 1], ["e\u0301", 2], ["abcde", 3]])
    assert capsys.readouterr().out == "name   n\n東京   1\ne\u0301      2\nabcde  3\n"


def test_one_warning_is_shown_once(capsys):
    out = Output()
    for text in ("the format is new", "another", "the format is new"):
        out.warn(text)
    assert capsys.readouterr().err.count("warning:") == 2


def test_a_table_on_a_terminal_keeps_brackets(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    Output().table(["name"], [["[red]x"]])
    assert "[red]x" in screen.getvalue()


def test_a_narrow_terminal_breaks_texts_and_no_id(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "60")
    row = ["58adca3d0ce3", "a title of some words", "Ada Marlow works as a … baker", "a1b2c3d4e5f6", "computed alone"]
    Output().table(["id", "title", "requests", "computed on", "verdict"], [row])
    assert "58adca3d0ce3" in screen.getvalue()
    assert "a1b2c3d4e5f6" in screen.getvalue()
    assert "computed " in screen.getvalue()


def test_json_refuses_what_json_has_not():
    with pytest.raises(ValueError, match="JSON compliant"):
        Output().json({"loss": float("nan")})


@pytest.fixture
def watched(monkeypatch):
    """Run work with a terminal as stderr, and return what was on it; set within the test, since pytest sets its own."""

    def watch(body, out=None, patience=0.0):
        screen = Terminal()
        monkeypatch.setattr(bars, "_PATIENCE", patience)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", screen)
        body(out or Output())
        return screen.getvalue()

    return watch


def work(out, total=3):
    with out.progress("collecting", total) as progress:
        for _ in range(3):
            progress.advance()
    assert progress.done == 3


def test_a_bar_shows_once_the_work_lasts(watched):
    assert "collecting" in watched(work)


def test_short_work_shows_no_bar(watched):
    assert watched(work, patience=60.0) == ""


def test_quiet_shows_no_bar(watched):
    out = Output()
    out.quiet = True
    assert watched(work, out) == ""


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by `step` seconds each time that it is looked at."""

    def start(step):
        seconds = itertools.count(0.0, step)
        monkeypatch.setattr(bars.time, "monotonic", lambda: next(seconds))

    return start


def test_no_terminal_shows_calm_lines_and_no_bar(clock, capsys):
    clock(4.0)
    with Output().progress("collecting", 6) as progress:
        for _ in range(6):
            progress.advance()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["collecting: 3 of 6, 12 s, up to 12 s left", "collecting: 6 of 6, 24 s"]


def test_long_work_without_a_total_says_how_far_it_is(clock, capsys):
    clock(4000.0)
    with Output().progress("sampling") as progress:
        progress.advance(7)
    assert capsys.readouterr().err == "sampling: 7, 1:06 h\n"


def test_short_work_says_nothing_where_no_terminal_is(capsys):
    work(Output())
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing_of_progress_in_a_pipe(clock, capsys):
    clock(100.0)
    out = Output()
    out.quiet = True
    work(out)
    assert capsys.readouterr().err == ""


def test_bars_within_bars_are_one_display_and_a_line_stands_above_them(watched):
    def nested(out):
        with out.progress("edits", 2) as outer:
            outer.advance()
            with out.progress("steps", 60) as inner:
                inner.advance(15)
            out.say("Ada works as a … baker")
            outer.advance()

    screen = watched(nested)
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h") == 1  # the cursor is hidden by each display
    assert "\x1b[2KAda works as a … baker\n" in screen
    assert screen.endswith("\x1b[1A\x1b[2K")


def test_data_printed_under_a_bar_goes_to_stdout(watched, capsys):
    def printing(out):
        with out.progress("collecting", 2) as progress:
            progress.advance()
            out.print("data")

    assert "data" not in watched(printing)
    assert capsys.readouterr().out == "data\n"


def test_data_on_the_terminal_of_a_bar_takes_its_place(watched, monkeypatch):
    def printing(out):
        monkeypatch.setattr(sys, "stdout", sys.stderr)
        with out.progress("collecting", 2) as progress:
            progress.advance()
            out.print("data")

    assert "\x1b[1A\x1b[2Kdata\n" in watched(printing)


def fail(out):
    with out.progress("collecting", 2) as progress:
        progress.advance()
        raise RuntimeError("half way")


def test_a_bar_is_taken_down_when_the_work_fails(watched):
    def failing(out):
        with pytest.raises(RuntimeError, match="half way"):
            fail(out)

    assert "\x1b[?25h" in watched(failing)  # the cursor is shown again
