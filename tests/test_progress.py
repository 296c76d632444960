"""The display: what is left is estimated from what the runs so far took, and every way of showing it shows all."""

import io
import re

import pytest
from fake_work import FakePlan
from rich.console import Console

from archbench.runs.execution.progress import Display, Tracker, condition, duration
from archbench.runs.plans.messages import Ended, LogLine, Progress


class Clock:
    """Seconds, set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def tracker(clock: Clock, jobs: int, *seconds: float) -> Tracker:
    progress = Tracker(jobs, clock)
    for i, expected in enumerate(seconds):
        progress.add(FakePlan(f"r{i}", expected_seconds=expected))
    return progress


def test_without_experience_the_expected_times_count() -> None:
    assert tracker(Clock(), 2, 10.0, 10.0, 20.0).seconds_left() == pytest.approx(20.0)
    assert tracker(Clock(), 2, 10.0, 30.0).seconds_left() == pytest.approx(30.0)


def test_slower_runs_than_expected_stretch_the_rest() -> None:
    clock = Clock()
    progress = tracker(clock, 1, 10.0, 10.0)
    progress.hear(Progress("r0", "data"))
    clock.now = 30.0
    progress.hear(Ended("r0", "done"))
    assert progress.states["r0"].spent == 30.0
    assert progress.seconds_left() == pytest.approx(30.0)


def test_a_run_at_work_counts_by_what_it_has_done() -> None:
    clock = Clock()
    progress = Tracker(1, clock)
    progress.add(FakePlan("r0", expected_seconds=10.0, scoring_seconds=1.0))
    progress.hear(Progress("r0", "train", 0.0, 100.0))
    clock.now = 8.0
    progress.hear(Progress("r0", "train", 1.0, 100.0))  # too little to predict by: starting up took most of the time
    assert progress.seconds_left() == pytest.approx(10.0, rel=0.02)
    clock.now = 9.0
    progress.hear(Progress("r0", "train", 100.0, 100.0, 1.5, 800.0))
    assert progress.seconds_left() == pytest.approx(1.0)
    progress.hear(Progress("r0", "score", 100.0, 100.0))
    assert progress.seconds_left() == pytest.approx(0.0)


def test_runs_of_an_architecture_are_predicted_by_those_that_ended() -> None:
    """Encoders took three times as long as planned, decoders as long as planned; neither changes the other's time."""
    clock = Clock()
    progress = Tracker(1, clock)
    for name in ("text-encoder-s0", "text-encoder-s1", "text-decoder-s0", "text-decoder-s1"):
        progress.add(FakePlan(name, expected_seconds=10.0))
    for name, seconds in (("text-encoder-s0", 30.0), ("text-decoder-s0", 10.0)):
        progress.hear(Progress(name, "data"))
        clock.now += seconds
        progress.hear(Ended(name, "done"))
    assert progress.seconds_left() == pytest.approx(40.0)


@pytest.mark.parametrize("scoring", [0.0, 1.0, 9.0])
def test_a_run_that_is_scored_is_as_far_as_its_plan_says(scoring: float) -> None:
    clock = Clock()
    progress = Tracker(1, clock)
    progress.add(FakePlan("r0", expected_seconds=10.0, scoring_seconds=scoring))
    progress.hear(Progress("r0", "train", 0.0, 100.0))
    clock.now = 10.0 - scoring
    progress.hear(Progress("r0", "score", 0.0, 100.0))
    assert progress.seconds_left() == pytest.approx(scoring)
    clock.now += scoring / 2
    progress.hear(Progress("r0", "score", 50.0, 100.0))
    assert progress.seconds_left() == pytest.approx(scoring / 2)


def test_skipped_and_failed_runs_leave_nothing_to_do() -> None:
    progress = tracker(Clock(), 1, 10.0, 10.0)
    progress.hear(Ended("r0", "skipped"))
    progress.hear(Ended("r1", "failed", "ValueError: no"))
    assert progress.seconds_left() == 0.0
    assert progress.headline() == "2 of 2 runs, 1 failed"


def test_the_headline_says_it_all() -> None:
    progress = tracker(Clock(), 2, 300.0, 300.0, 300.0)
    progress.hear(Ended("r0", "done"))
    for run in ("r1", "r2"):
        progress.hear(Progress(run, "train", 0.0, 100.0, 2.0, 9200.0))
    assert progress.headline() == "1 of 3 runs, 2 at work, 18,400 tokens/s, about 5 min left"


def test_runs_that_wait_for_these_are_counted() -> None:
    progress = Tracker(2, Clock(), later=[120.0, 120.0, 120.0])
    progress.add(FakePlan("r0", expected_seconds=120.0))
    assert progress.headline() == "0 of 1 runs (then 3 more), about 4 min left"
    progress.hear(Ended("r0", "done"))
    assert progress.headline() == "1 of 1 runs (then 3 more), about 3 min left"


def display_text(terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, no_color=True, _environ={"TERM": "xterm"})
    plans = [FakePlan(f"[red]-decoder-s{seed}") for seed in range(3)]
    with Display(plans, 2, console) as display:
        display(Ended("[red]-decoder-s2", "skipped"))
        display(Progress("[red]-decoder-s0", "train", 50.0, 100.0, 2.5, 1000.0))
        display(Progress("[red]-decoder-s1", "train", 50.0, 100.0, 1.25, 1000.0))
        display(Ended("[red]-decoder-s1", "failed", "ValueError: [bold]no"))
        if terminal:
            console.print(display.render())
        display(Ended("[red]-decoder-s0", "done"))
    return stream.getvalue()


def test_plain_lines_without_a_terminal() -> None:
    text = display_text(terminal=False)
    assert "\x1b" not in text
    assert "[red]-decoder-s1 failed: ValueError: [bold]no" in text
    assert re.search(r"\[red\]-decoder-s0 done in \d+ s; 3 of 3 runs, 1 failed", text)
    assert "at work" not in text  # one run has ended, the next not begun


def test_what_is_said_of_the_machine_is_shown_once() -> None:
    text = io.StringIO()
    plans = [FakePlan(f"r{i}") for i in range(3)]
    with Display(plans, 1, Console(file=text)) as display:
        for plan in plans:
            display(LogLine(plan.run, "no compiler here", everywhere=True))
            display(LogLine(plan.run, "diverged"))
    assert text.getvalue().count("no compiler here") == 1
    assert [f"r{i}: diverged" in text.getvalue() for i in range(3)] == [True] * 3


def test_the_matrix_and_the_runs_at_work_on_a_terminal() -> None:
    text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", display_text(terminal=True))
    assert "decoder" in text
    assert "▶✗●" in text
    assert "[red]-decoder-s0" in text
    assert "loss 2.500" in text
    assert "1,000 tokens/s" in text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({}, ""),
        ({"start": "scratch", "adapt": "finetune", "examples": 1000}, "from scratch, 1,000 examples, finetuned"),
        ({"start": "books", "adapt": "prompt", "examples": 4, "shots": 4}, "from books, 4 shots, prompted"),
    ],
)
def test_a_run_that_starts_from_a_pretraining_says_so(row: dict[str, object], text: str) -> None:
    assert condition(row) == text


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (240, "4 min"), (7500, "2 h 05 min")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
