"""The benchmark: both sides do the same work in turn; record, table and figure say what was measured."""

import contextvars
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from archbench import command_line
from archbench.architectures.kernels import blockwise, direct, product, single
from archbench.benchmarks import alone, inference, kernels, real, report, shares, suite, training, work
from archbench.benchmarks.models import CLASSES, SHAPES
from archbench.benchmarks.pairing import DisagreementError, alternate, compared, rotated, summary
from archbench.benchmarks.setting import BenchSetting
from archbench.benchmarks.suite import Request, compiler
from archbench.benchmarks.work import Where
from archbench.reports.base.formatting import number
from archbench.tasks.base.example import BOS, END, MASK

TINY = SHAPES["tiny"]
DATA = "phrases-en-de:300"
MODELS = list(CLASSES)


@pytest.fixture(scope="module")
def setting(cache: Path) -> Iterator[BenchSetting]:
    with suite._quiet_one_thread():
        plan = suite.planned(Request(device="cpu", shape="tiny", data=DATA))
        yield BenchSetting(TINY, Where("cpu", bf16=False), 2, suite._task(plan, cache, lambda line: None))


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        command_line.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_sides_take_turns_in_going_first() -> None:
    order: list[str] = []
    sides = {name: lambda name=name: float(not order.append(name)) for name in ("ours", "theirs")}
    samples = alternate(sides, 4)  # type: ignore[arg-type]
    assert samples.first == ["ours", "theirs", "ours", "theirs"]
    assert order[4:] == ["ours", "theirs", "theirs", "ours"] * 2  # after a warm-up and a trial of each
    assert {len(values) for values in samples.values.values()} == {4}
    assert [rotated("abc", number) for number in range(3)] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]


def test_a_sample_lasts_long_enough_and_gives_units_per_second() -> None:
    now, units = iter(float(second) for second in range(100)), 5.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("archbench.benchmarks.pairing.time.perf_counter", lambda: next(now))  # a second later each
        samples = alternate({"ours": lambda: units, "theirs": lambda: 2 * units}, 3, seconds=4.0)
    assert samples.repeats == 4
    assert samples.values == {"ours": [4 * units] * 3, "theirs": [8 * units] * 3}


def test_medians_quartiles_and_ratios() -> None:
    assert summary([4.0, 1.0, 3.0, 2.0]) == {"median": 2.5, "lower": 1.75, "upper": 3.25}
    assert summary([7.0]) == {"median": 7.0, "lower": 7.0, "upper": 7.0}
    faster = compared({"ours": [20.0, 30.0, 80.0], "theirs": [10.0, 10.0, 20.0]}, more=True)
    assert faster["ratios"]["theirs"] == {"values": [2.0, 3.0, 4.0], "median": 3.0, "lower": 2.5, "upper": 3.5}
    assert faster["summary"]["ours"]["median"] == 30.0
    smaller = compared({"ours": [1.0, 2.0], "theirs": [2.0, 4.0]}, more=False)
    assert smaller["ratios"]["theirs"]["median"] == 2.0  # half of the seconds: twice as good


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("batch", [work.windows, work.labelled])
def test_both_sides_have_the_same_loss_and_another_model_is_noticed(
    setting: BenchSetting, model: str, batch: Any
) -> None:
    sides = training.prepared(setting, model, batch)
    ours, theirs = training.checked(setting, model, sides)["float32"]
    assert ours == pytest.approx(theirs, rel=1e-4) and ours > 1.0
    with torch.no_grad():
        sides.ours.embedding.weight.mul_(1.5)
    with pytest.raises(DisagreementError, match="losses of the same weights differ"):
        training.checked(setting, model, sides)


def test_an_encoder_has_the_cells_that_ours_hides_as_labels(setting: BenchSetting) -> None:
    sides = training.prepared(setting, "bert", work.windows)
    input_ids, labels = sides.inputs["input_ids"], sides.inputs["labels"]
    assert input_ids.shape == (TINY.rows, TINY.context) and bool((input_ids[:, 0] == BOS).all())
    hidden = input_ids == MASK
    assert bool(hidden.any(1).all()) and not bool(hidden.all())
    assert torch.equal(labels != work.IGNORED, hidden)
    assert torch.equal(torch.where(hidden, labels, input_ids)[:, 1:], sides.batch.target)


@pytest.mark.parametrize("model", [model for model in MODELS if model != "bert"])
def test_both_sides_write_the_same_tokens_and_never_end(setting: BenchSetting, model: str) -> None:
    ours, theirs = (side.eval() for side in setting.models(model, 1))
    prompts = torch.randint(5, TINY.vocabulary, (3, 4), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours.head.weight[END] += 0.5 * ours.head.weight.abs().max()  # END would be written if it could
    written = inference.our_words(ours, prompts, 9)
    assert written.shape == (3, 9) and not bool((written == END).any())
    ours, _ = setting.models(model, 1)
    assert torch.equal(inference.our_words(ours.eval(), prompts, 9), inference.their_words(model, theirs, prompts, 9))


@pytest.mark.parametrize("model", MODELS)
def test_both_sides_find_the_same_likelihoods(setting: BenchSetting, model: str) -> None:
    ours, theirs = (side.eval() for side in setting.models(model, TINY.target_length))
    test = setting.prepared.test
    scores = inference.our_scores(ours, test, 9, TINY.vocabulary, "cpu")
    expected = inference.their_scores(model, theirs, test, 9, TINY.target_length, "cpu")
    assert np.ptp(scores) > 1.0
    np.testing.assert_allclose(scores, expected, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_those_of_sources_and_targets_alone(setting: BenchSetting, model: str, grouped: bool) -> None:
    train, batches = setting.prepared.train, real.their_batches(setting, model, grouped)
    rows = real.their_rows(setting)
    for _, (inputs, tokens) in zip(range(3), batches, strict=False):
        read = int(inputs["attention_mask"].sum())
        if model == "t5":
            assert tokens == read + int((inputs["labels"] != work.IGNORED).sum())
        elif model != "bert":
            assert tokens == read - rows  # BOS
        else:  # BOS and the rest of every canvas, of which at most one cell in a target is not
            assert read - rows * (1 + TINY.target_length) < tokens < read - rows
        assert inputs["attention_mask"].shape == inputs["input_ids"].shape
        assert grouped or read < inputs["input_ids"].numel()
    assert next(real.our_batches(setting)).tokens <= TINY.batch_tokens
    mean = float((train.source_lengths + train.target_lengths).mean())
    assert abs(rows * mean - TINY.batch_tokens) <= mean / 2


def test_lengths_that_are_grouped_leave_less_padding(setting: BenchSetting) -> None:
    def padded(grouped: bool) -> float:
        batches = itertools.islice(real.their_batches(setting, "t5", grouped), 20)
        masks = [inputs["attention_mask"].double() for inputs, _ in batches]
        return float(torch.stack([1.0 - mask.mean() for mask in masks]).mean())

    assert 0.0 < padded(True) < 0.8 * padded(False)


def test_operators_are_told_apart() -> None:
    assert shares.kind_of("aten::mm") == "matmuls"
    assert shares.kind_of("aten::mm", ("_AttentionBackward",)) == "attention"
    assert shares.kind_of("aten::_scaled_dot_product_flash_attention_for_cpu") == "attention"
    assert shares.kind_of("aten::mm", ("_Total",)) == "matmuls"  # the output matrix
    assert shares.kind_of("aten::exp_", ("_Total",)) == shares.kind_of("aten::_log_softmax") == "loss"
    assert shares.kind_of("aten::add_", ("Optimizer.step#AdamW.step",)) == "optimizer"
    assert shares.kind_of("aten::cat", (work.DATA,)) == "data"
    assert shares.kind_of("aten::gelu") == "element-wise"
    assert shares.kind_of("aten::view") == shares.kind_of("GeluBackward0") == "between"


def test_shares_of_a_step_are_a_whole(setting: BenchSetting) -> None:
    for parts in shares.shares(setting, "gpt2")["shares"].values():
        assert list(parts) == list(shares.KINDS) and sum(parts.values()) == pytest.approx(1.0, abs=0.02)
        assert parts["matmuls"] > 0.02 and parts["optimizer"] > 0.0 and parts["data"] > 0.0


def test_a_process_of_its_own_says_when_it_had_trained_and_what_that_took() -> None:
    measures = alone.measured("ours", "gpt2", "tiny", "cpu")
    assert 0.1 < measures["startup"] < 300.0
    assert 0 < measures["memory-rise"] < measures["memory"] < 2**34


def test_the_command_records_draws_and_tells_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = "gpt2,bert,training"
    assert status("bench", "--device", "cpu", "--shape", "tiny", "--only", only, "--pairs", 2, "--out", tmp_path) == 0
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["complete"] and record["threads"] == 1 and record["environment"]["torch"] == torch.__version__
    measured_pairs = [(measure["model"], measure["measure"]) for measure in record["measures"]]
    assert measured_pairs == [("gpt2", "training"), ("bert", "training")]
    output, table = capsys.readouterr().out, pd.read_csv(tmp_path / "bench.csv")
    for measure, (_, row) in zip(record["measures"], table.iterrows(), strict=True):
        ratios = [a / b for a, b in zip(*(measure["samples"][side] for side in ("ours", "theirs")), strict=True)]
        assert measure["ratios"]["theirs"]["values"] == ratios
        assert row["ratio_median"] == pytest.approx(sum(ratios) / 2)
        assert row["ours_median"] == pytest.approx(measure["summary"]["ours"]["median"])
        speed = number(row["theirs_median"]).replace("\N{NO-BREAK SPACE}", "")
        assert f"{row['ratio_median']:.2f} [" in output and f"{speed} [" in output
    assert 0.0 < record["measures"][0]["peak_fraction"]["ours"][0] < 1.0
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "bench.svg").read_text().count("<svg") == 1
    assert [panel.title for panel in report.panels(table, CLASSES, "here")] == ["gpt2", "bert"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not compiler("cpu"), reason="compiling takes a compiler")
def test_compiled_both_are_measured_with_the_plain_ones(tmp_path: Path) -> None:
    only = ("--only", "gpt2,training,compiled", "--pairs", 2, "--out", tmp_path)
    assert status("bench", "--device", "cpu", "--shape", "tiny", *only) == 0
    plain, compiled = json.loads((tmp_path / "bench.json").read_text())["measures"]
    assert set(plain["ratios"]) == {"theirs", "compiled"} and set(compiled["ratios"]) == {"theirs"}
    assert compiled["samples"]["theirs"] == plain["samples"]["compiled"]
    assert all(seconds > 0.5 for seconds in compiled["compile_seconds"].values())
    labels = list(report.numbers({"measures": [plain, compiled]}).apply(report._label, axis=1))
    assert labels == ["training, windows", "training, theirs compiled", "training, both compiled"]


def exchange(monkeypatch: pytest.MonkeyPatch, name: str, take: Any) -> None:
    """The workload of this name is taken by ``take``."""
    workloads = [replace(each, take=take) if each.name == name else each for each in suite.WORKLOADS]
    monkeypatch.setattr(suite, "WORKLOADS", workloads)


def test_an_interrupted_benchmark_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(setting: BenchSetting, model: str) -> Any:
        if model == "llama":
            raise KeyboardInterrupt
        return training.labelled(setting, model)

    exchange(monkeypatch, "labels", interrupted)
    arguments = ("bench", "--device", "cpu", "--shape", "tiny", "--only", "labels", "--pairs", 1, "--out", tmp_path)
    assert status(*arguments) == 130
    record = json.loads((tmp_path / "bench.json").read_text())
    assert [measure["model"] for measure in record["measures"]] == ["gpt2"] and not record["complete"]
    output = capsys.readouterr()
    assert "gpt2" in output.out and "interrupted" in output.err.splitlines()[-1]
    assert (tmp_path / "bench.csv").is_file()


def test_a_measure_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(setting: BenchSetting, model: str) -> Any:
        raise DisagreementError("losses of the same weights differ")

    exchange(monkeypatch, "training", broken)
    only = "gpt2,training,labels"
    assert status("bench", "--device", "cpu", "--shape", "tiny", "--only", only, "--pairs", 1, "--out", tmp_path) == 1
    record = json.loads((tmp_path / "bench.json").read_text())
    assert ["error" in measure for measure in record["measures"]] == [True, False]
    assert "gpt2: training failed: losses of the same weights differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shape", "huge"), 'unknown "huge"'),
        (("--only", "trainin"), 'did you mean "training"'),
        (("--only", ","), "--only: is empty"),
        (("--device", "tpu"), "expected auto, cpu or cuda"),
        (("--data", "sentimen"), 'did you mean "sentiment"'),
        (("--data", "phrases-en-xx"), '"phrases-en-xx"'),
        (("--pairs", "0"), "pairs"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("bench", "--shape", "tiny", *arguments, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_record_of_another_schema_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="written by another version of archbench"):
        report.read(tmp_path)


def test_a_measure_that_no_named_model_has_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("bench", "--shape", "tiny", "--only", "bert,generation", "--out", tmp_path) == 2
    assert "generation is not measured for bert" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_was_measured_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "_measure", lambda *arguments: None)
    for place in range(2):
        for name in ("bench.json", "bench.csv"):
            (tmp_path / name).write_text(f'{{"measures": [{place}]}}')
            os.utime(tmp_path / name, (0, 0))
        status("bench", "--shape", "tiny", "--only", "gpt2,labels", "--out", tmp_path)
        assert json.loads((tmp_path / "bench.json").read_text())["measures"] == []
        assert not (tmp_path / "bench.csv").exists()
    for ending in ("json", "csv"):
        paths = tmp_path.glob(f"bench-*.{ending}")
        assert sorted(path.read_text() for path in paths) == ['{"measures": [0]}', '{"measures": [1]}']
    assert str(tmp_path / "bench-") in capsys.readouterr().err
    status("bench", "--shape", "tiny", "--only", "gpt2,labels", "--out", tmp_path)  # nothing was measured
    assert len(list(tmp_path.glob("bench-*.json"))) == 2


@pytest.mark.parametrize("name", kernels.SWITCHES)
def test_a_kernel_is_off_within_its_switch_and_on_again_after_it(name: str, setting: BenchSetting) -> None:
    model, run = kernels.WORKLOADS["scoring"](setting, "llama")
    before = [type(module) for module in model.modules()]
    parts = [(product, name) for name in ("bf16_applies", "onednn_applies", "is_packing")]
    parts += [(module, "applies") for module in (blockwise, direct, single)]
    applies = [getattr(module, part) for module, part in parts]

    def state() -> list[object]:
        return [*(getattr(module, part) for module, part in parts), *(type(module) for module in model.modules())]

    with kernels.SWITCHES[name](model):
        assert state() != [*applies, *before] or name == "GELU"  # which Llama does not have
        assert run() == setting.shape.examples
    assert state() == [*applies, *before]


def test_the_gain_of_a_kernel_is_how_much_longer_work_takes_without_it(setting: BenchSetting) -> None:
    spent = {False: 0.01, True: 0.03}
    off = contextvars.ContextVar("off", default=False)

    @contextmanager
    def switch(model: object) -> Iterator[None]:
        token = off.set(True)
        yield
        off.reset(token)

    def run() -> float:
        end = time.process_time() + spent[off.get()]
        while time.process_time() < end:
            pass
        return 1.0

    assert kernels.gain(None, run, switch) == pytest.approx(3.0, rel=0.2)
