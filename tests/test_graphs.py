"""Recorded steps are the steps: the same losses and gradients from rectangles of few shapes, replayed or not.

Recordings are made by CUDA where there is a GPU; here a stand-in takes its place.
"""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from recordings import stand_in
from torch import Tensor

from architectures import catalogue, recording
from architectures.objectives import Asks
from architectures.recording import Recorder
from architectures.size import Limits, Size
from runs import machine, optimizer
from runs.batches import Batch, _even, collate
from runs.sections import Training
from runs.step import Stepper, _is_launching, pairs
from tasks.example import PAD, Example

LIMITS = Limits(24, 10, 6)
NAMES = [name for name in catalogue.names() if not name.startswith("transformers:")]


class Held:
    """Examples in memory."""

    def __init__(self, lengths: list[tuple[int, int]], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.held = [
            Example(*(torch.randint(8, 24, (n,), generator=generator).numpy().astype("int32") for n in pair))
            for pair in lengths
        ]
        self.source_lengths, self.target_lengths = torch.tensor(lengths).T.numpy()

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Example:
        return self.held[index]

    def epoch(self, seed: int, epoch: int) -> "Held":
        return self


def batch(seed: int, lengths: list[tuple[int, int]]) -> Batch:
    return collate(Held(lengths, seed), torch.arange(len(lengths)).numpy())


def batches() -> Iterator[Batch]:
    """Batches of two shapes in turn, whose examples and padding differ."""
    for seed in range(5):
        yield batch(seed, [(7, 3), (5, 1 + seed % 3), (6, 2)])
        yield batch(seed, [(9, 5), (1, 6), (3, 3), (9, 4), (2 + seed, 2)])


def stepper(name: str, native: bool = True, dropout: float = 0.0, device: str = "cpu") -> Stepper:
    prepared: Any = None
    torch.manual_seed(0)
    model = catalogue.find(name).build(Size(16, 2, 2, 32, dropout=dropout), LIMITS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.to(device)
    training = Training(optimizer="muon", learning_rate=0.01)
    answers = torch.ones(24, dtype=torch.bool, device=device)
    answers[:3] = False  # PAD is no answer: what is added must not be asked for it
    made = optimizer.build(model, training, device)
    longest = LIMITS.source_length, LIMITS.target_length
    return Stepper(model, made, prepared, training, native, 0, torch.device(device), False, answers, longest)


def test_even_batches_hold_the_same_examples_in_few_shapes() -> None:
    for given in batches():
        even = given.even((10, 6))
        assert even.target.shape[0] in (3, 6) and even.source.shape[1] in (8, 10) and even.target.shape[1] == 6
        assert even.tokens == given.tokens and even.source_lengths is given.source_lengths
        for side in ("source", "target"):
            tokens, mask = getattr(even, side), getattr(even, f"{side}_mask")
            assert mask.sum() == getattr(given, f"{side}_lengths").sum() and bool((tokens[~mask] == PAD).all())
            rows, width = getattr(given, side).shape
            assert torch.equal(tokens[:rows, :width], getattr(given, side))
    whole = batch(0, [(8, 6)] * 4)
    assert whole.even((10, 6)).target_mask is None


def test_shapes_are_few_and_hold_little_more() -> None:
    found = {count: _even(count, 1) for count in range(1, 4097)}
    assert all(count <= even <= 1.5 * count for count, even in found.items())
    assert len(set(found.values())) == 2 * 12  # of twelve doublings
    assert all(_even(count, 8) == max(even, -(-count // 8) * 8) for count, even in found.items())


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", [name for name in NAMES if catalogue.find(name).family != "encoder"])
def test_padding_changes_no_loss(name: str, native: bool) -> None:
    model = stepper(name, native).model.eval()
    answers = torch.ones(24, dtype=torch.bool)
    for given in batches():
        plain, even = (
            model.objective.loss(model, pairs(b), answers, None, native) for b in (given, given.even((10, 6)))
        )
        torch.testing.assert_close(plain, even)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_asked_of_all_positions_it_is_the_same_loss(name: str, native: bool) -> None:
    one = stepper(name, native)
    model, weights = one.model.eval(), list(one.model.parameters())
    for seed, given in enumerate(batches()):
        even = pairs(given.even(one.longest))
        plain = model.objective.loss(model, even, one.answers, torch.Generator().manual_seed(seed), native)
        asked = model.objective.asked(model, even, torch.Generator().manual_seed(seed), native).whole(one._answer)
        assert len(asked.at) == len(asked.labels) == len(asked.weights) == asked.target.numel()
        whole = asked.loss(model, one.answers, 0.0)
        torch.testing.assert_close(whole, plain, rtol=1e-5, atol=1e-5)
        found, expected = (torch.autograd.grad(loss, weights, materialize_grads=True) for loss in (whole, plain))
        for mine, theirs in zip(found, expected, strict=True):
            assert (mine - theirs).norm() <= 1e-4 * theirs.norm() + 1e-6


class Unrecorded(Recorder):
    """Does the step itself every time."""

    def __call__(self, given: recording.Given, before: Callable[[], None] = lambda: None) -> recording.Results:
        before()
        return self.step(*given)[: self.kept_results]


@pytest.mark.parametrize(
    "native, dropout", [(True, 0.0), (False, 0.0), (True, 0.2)], ids=["native", "target", "dropout"]
)
@pytest.mark.parametrize("name", NAMES)
def test_recorded_training_is_training(
    name: str, native: bool, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MET", 2)
    plain, recorded = stepper(name, native, dropout), stepper(name, native, dropout)
    assert isinstance(plain.model.objective, Asks)
    plain.recorder = Unrecorded(plain._told, stand_in, kept_results=2)
    recorded.record(stand_in)
    recorder = recorded.recorder
    assert recorder is not None
    losses = []
    for number, given in enumerate(batches()):
        ready, progress = recorded.ready(given), 0.1 * number
        losses.append((plain.step(ready, number, progress), recorded.step(ready, number, progress)))
    assert recorder.works and len(recorder.kept) == 2 and not plain.recorder.kept
    assert {count for count in recorder.met.values()} == {5}  # two as ever, one that is recorded, two from recordings
    for expected, found in losses:
        torch.testing.assert_close(found.loss, expected.loss, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.norm, expected.norm, rtol=1e-4, atol=1e-5)
    for expected, found in zip(plain.model.parameters(), recorded.model.parameters(), strict=True):
        assert (found - expected).norm() <= 1e-4 * expected.norm()
    for name, state in plain.optimizer.state().items():
        assert (recorded.optimizer.state()[name] - state).norm() <= 1e-3 * state.norm(), name


def squared(x: Tensor, y: Tensor | None) -> recording.Results:
    return [x * x, y]


def given(number: float) -> tuple[Tensor, None]:
    return torch.full((3,), number), None


def test_a_run_that_gives_its_recordings_up_frees_them() -> None:
    one = stepper("decoder")
    one.record(stand_in)
    alive = weakref.ref(one.model)
    one.forget()
    gc.disable()
    try:
        del one
        assert alive() is None
    finally:
        gc.enable()


def test_where_recording_fails_steps_are_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the recording has left behind: the losses and weights are those of steps that nobody records."""

    def refused(step: Callable[[], recording.Results], before: Callable[[], None]) -> recording.Recorded:
        before()
        update = one.optimizer.step
        monkeypatch.setattr(one.optimizer, "step", broken)
        try:
            step()
        finally:
            monkeypatch.setattr(one.optimizer, "step", update)
        raise AssertionError

    def broken() -> None:
        try:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        finally:
            raise RuntimeError("to end it failed as well")  # as PyTorch says it

    plain, one, lines = stepper("decoder"), stepper("decoder"), []
    one.record(refused)
    assert one.recorder is not None
    one.recorder.say = lines.append
    for number in range(recording.MET + 3):
        given = one.ready(batch(number, [(7, 3), (5, 1), (6, 2)]))
        expected, found = plain.step(given, number, 0.1 * number), one.step(given, number, 0.1 * number)
        torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.norm, expected.norm, rtol=1e-3, atol=1e-4)
    assert len(lines) == 1 and "operation not permitted" in lines[0] and not one.recorder.kept
    one._told = None  # type: ignore[assignment,method-assign]
    one.step(given, recording.MET + 3, 0.5)


@pytest.mark.parametrize("kind", ["begun", "done"])
def test_memory_that_lacks_for_a_recording_costs_the_recording_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, one, copies = stepper("decoder"), stepper("decoder"), recording._copies
    one.record(stand_in)
    calls: list[int] = []

    def short(tensors: recording.Given) -> recording.Results:
        calls.append(1)
        if len(calls) == {"begun": 1, "done": 2}[kind]:
            raise torch.OutOfMemoryError("out of memory")
        return copies(tensors)

    monkeypatch.setattr(recording, "_copies", short)
    for number in range(recording.MET + 2):
        given = one.ready(batch(number, [(7, 3), (5, 1), (6, 2)]))
        expected, found = plain.step(given, number, 0.1), one.step(given, number, 0.1)
        torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=1e-4)
    assert one.parts == 1 and one.recorder is not None and not one.recorder.works


@pytest.mark.parametrize("fault", ["nothing", "twice", "backwards", "state"])
@pytest.mark.parametrize("steps", [3, 60])
def test_a_recording_that_changes_otherwise_is_not_used(
    fault: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many steps as well, when one changes weights by little of their size."""
    monkeypatch.setattr(recording, "MET", steps)
    one, lines = stepper("decoder"), []
    by = {"nothing": -1.0, "twice": 1.0, "backwards": -2.0, "state": 0.0}[fault]

    def faulty(step: Callable[[], recording.Results], before: Callable[[], None]) -> recording.Recorded:
        replay, results = stand_in(step, before)
        weights, state = one.optimizer.parameters, list(one.optimizer.state().values())

        def wrong() -> None:
            begun, kept = [w.detach().clone() for w in weights], [s.clone() for s in state]
            replay()
            for weight, old in zip(weights, begun, strict=True):
                weight.data += by * (weight.data - old)
            for place, old in zip(state, kept, strict=True):
                if fault == "state":
                    place.copy_(old)

        return wrong, results

    one.record(faulty)
    assert one.recorder is not None
    one.recorder.say = lines.append
    for number in range(steps + 1):
        one.step(one.ready(batch(number, [(7, 3), (5, 1), (6, 2)])), number, 0.1 + 0.01 * number)
    assert not one.recorder.works and not one.recorder.kept and "changed by" in lines[0]


def test_batches_are_pinned_for_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Batch] = []
    monkeypatch.setattr(Batch, "pinned", lambda self: pinned.append(self) or self)
    one, given = stepper("decoder"), next(batches())
    one.ready(given)
    assert not pinned
    one.device = torch.device("cuda")
    one.ready(given)
    assert pinned == [given]


def test_attention_of_cudnn_is_left_out_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", told.append)
    machine.attention("cpu")
    assert not told
    machine.attention("cuda")
    assert told == [False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_cuda_records_what_the_step_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MET", 2)
    plain, recorded = stepper(name, device="cuda"), stepper(name, device="cuda")
    recorded.record(recording.CudaGraphs())
    recorder = recorded.recorder
    assert recorder is not None
    for number, given in enumerate(batches()):
        even = given.even(recorded.longest)
        expected = plain.step(even, number, 0.1 * number)
        found = recorded.step(recorded.ready(given), number, 0.1 * number)
        torch.testing.assert_close(found.loss, expected.loss, rtol=1e-3, atol=1e-3)
    assert recorder.works and len(recorder.kept) == 2
    for mine, other in zip(recorded.model.parameters(), plain.model.parameters(), strict=True):
        assert (mine - other).norm() <= 1e-2 * other.norm()


def test_noise_is_no_difference_and_what_counts_is() -> None:
    large, noise = torch.full((4,), 3.0), torch.full((4,), 1e-5)
    assert not recording._differing([large, -noise], [large, noise])
    assert recording._differing([large, 100 * noise], [large, noise])
    assert recording._differing([1.02 * large, noise], [large, noise])


def test_only_shapes_that_come_again_are_recorded() -> None:
    made: list[int] = []

    def noted(step: Callable[[], recording.Results], before: Callable[[], None]) -> recording.Recorded:
        made.append(1)
        return stand_in(step, before)

    one, seeds = Recorder(squared, noted), []
    for number in range(recording.MET + 3):
        found, nothing = one(given(number), lambda: seeds.append(1))
        assert found is not None and nothing is None and torch.equal(found, torch.full((3,), float(number) ** 2))
        assert len(made) == int(number >= recording.MET)
    assert len(seeds) >= recording.MET + 3
    one((torch.ones(4), None), lambda: None)
    assert len(made) == 1


def test_what_a_step_changes_is_changed_once() -> None:
    """Whatever was done to record it."""
    weight = torch.zeros(2)

    def grown(x: Tensor) -> recording.Results:
        weight.add_(x)
        return [weight.sum(), x * x]

    one = Recorder(grown, stand_in, changed={"weight": [weight]}, kept_results=1)
    for number in range(1, recording.MET + 4):
        (found,) = one([torch.ones(2)])
        assert weight.tolist() == [number, number] and found is not None and found.item() == 2 * number
    assert len(one.kept) == 1


@pytest.mark.parametrize("fault", ["refused", "result", "change"])
def test_a_recording_that_fails_leaves_what_the_step_did(fault: str) -> None:
    weight, lines = torch.zeros(2), []

    def grown(x: Tensor) -> recording.Results:
        weight.add_(x)
        return [weight.sum()]

    def broken(step: Callable[[], recording.Results], before: Callable[[], None]) -> recording.Recorded:
        before()
        (total,) = step()
        before()
        if fault == "refused":
            weight.fill_(torch.nan)
            raise RuntimeError("operation not permitted when stream is capturing")
        assert total is not None
        wrong = total + (fault == "result")
        return lambda: weight.add_(2.0 if fault == "change" else 1.0) and None, [wrong]

    one = Recorder(grown, broken, lines.append, changed={"weight": [weight]})
    for number in range(1, recording.MET + 4):
        (found,) = one([torch.ones(2)])
        assert weight.tolist() == [number, number] and found is not None and found.item() == 2 * number
    assert len(lines) == 1 and not one.kept


def test_recordings_are_of_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST", 2)
    one = Recorder(squared, stand_in)
    for size in (1, 2, 3):
        for _ in range(recording.MET + 2):
            found = one((torch.full((size,), 3.0), None), lambda: None)[0]
            assert found is not None and torch.equal(found, torch.full((size,), 9.0))
    assert len(one.kept) == 2


def test_memory_that_lacks_while_weights_change_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin again would change some of them twice."""

    def short() -> None:
        raise torch.OutOfMemoryError("out of memory")

    for recorded in (True, False):
        one, given = stepper("decoder"), next(batches())
        if recorded:
            one.record(stand_in)
        monkeypatch.setattr(one.optimizer, "step", short)
        with pytest.raises(torch.OutOfMemoryError):
            one.step(one.ready(given), 0, 0.5)
        assert one.parts == 1


@pytest.mark.parametrize("fault", ["refused", "differing", "no number", "missing"])
def test_what_cannot_be_recorded_is_done_as_ever(fault: str) -> None:
    def broken(step: Callable[[], recording.Results], before: Callable[[], None]) -> recording.Recorded:
        if fault == "refused":
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        wrong = {"differing": torch.full((3,), 1.1), "no number": torch.full((3,), torch.nan), "missing": None}
        return lambda: None, [wrong[fault], None]

    lines: list[str] = []
    one = Recorder(squared, broken, lines.append)
    for number in range(recording.MET + 3):
        found = one(given(number), lambda: None)[0]
        assert found is not None and torch.equal(found, torch.full((3,), float(number) ** 2))
    assert len(lines) == 1 and "\n" not in lines[0] and not one.kept


def test_recordings_are_for_small_models_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu, weights = torch.device("cuda"), torch.device("cpu"), [torch.empty(100), torch.empty(10)]
    assert _is_launching(cuda, weights, Training(), "bf16")
    assert not _is_launching(cpu, weights, Training(), "bf16")
    assert not _is_launching(cuda, weights, Training(compile=True), "bf16")
    assert not _is_launching(cuda, weights, Training(recompute=True), "bf16")
    with monkeypatch.context() as less:
        less.setattr("runs.step.SMALL", 109)
        assert not _is_launching(cuda, weights, Training(), "bf16")
    limits = {"bf16": 6 * 110 * Training().batch_tokens, "float32": 6 * 110 * Training().batch_tokens - 1}
    monkeypatch.setattr("runs.step.LAUNCHING", limits)
    assert _is_launching(cuda, weights, Training(), "bf16")
    assert not _is_launching(cuda, weights, Training(), "float32")
