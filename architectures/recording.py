"""A step of many small kernels, recorded once for each shape and replayed as one launch (a CUDA graph).

The kernels of a small model, or of writing a token, take less time than to launch each from Python. A recording reads
and writes memory of its own: what a step is given is copied there. Before a recording is used it is held to what the
step computes without it; where recording fails, or differs, the step is done as ever and a line says so.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tasks.errors import one_line

MET = 2  # times that a shape is met before it is recorded: most that come again come often
MOST = 64  # recordings: each keeps its results
NEAR = 1e-2  # a recording's results differ from the step's by at most so much, relatively: kernels may be others
ALIKE = 0.3  # and what it changes is changed as by the step: an optimizer makes more of small differences
NOISE = 1e-5  # or by so much of the size of all results: rounding errors of what would be zero

Given = Sequence[Tensor | None]
Results = list[Tensor | None]
Step = Callable[..., Results]
Replay = Callable[[], None]
Recorded = tuple[Replay, Results]
Record = Callable[[Callable[[], Results], Callable[[], None]], Recorded]


@dataclass
class _Kept:
    inputs: list[Tensor | None]
    replay: Replay
    results: Results


@dataclass
class Recorder:
    """``step`` as a function of tensors, recorded by ``record`` for every shape that comes again.

    ``step`` works on the device alone, and to do it again alters nothing but ``changed``, tensors by kind, which lie
    where they lie and are put back for that. ``before`` is called ahead of each computation: it seeds what is drawn on
    the device. A call returns the first results, ``kept_results`` of them (None: all), which are only there until the
    next one.
    """

    step: Step
    record: Record
    say: Callable[[str], None] = lambda line: None
    changed: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    kept_results: int | None = None
    works: bool = True
    met: Counter[tuple[object, ...]] = field(default_factory=Counter)
    kept: dict[tuple[object, ...], _Kept] = field(default_factory=dict)

    def __call__(self, given: Given, before: Callable[[], None] = lambda: None) -> Results:
        shape = tuple(None if tensor is None else (*tensor.shape, tensor.dtype) for tensor in given)
        self.met[shape] += 1
        kept = self.kept.get(shape)
        if kept is None:
            if not self.works or self.met[shape] <= MET or len(self.kept) >= MOST:
                before()
                return self.step(*given)[: self.kept_results]
            return self._recorded(shape, given, before)
        _put(given, kept.inputs)
        before()
        kept.replay()
        return kept.results

    def _recorded(self, shape: tuple[object, ...], given: Given, before: Callable[[], None]) -> Results:
        """The step's results, from itself, once a recording of it was made."""
        places = [tensor for tensors in self.changed.values() for tensor in tensors]
        try:
            begun = _copies(places)
        except RuntimeError as error:
            self._give_up(error)
            before()
            return self.step(*given)[: self.kept_results]

        def anew() -> None:
            _put(begun, places)
            before()

        before()
        found = self.step(*given)
        try:
            expected, after = _copies(found), _copies(places)
        except RuntimeError as error:
            self._give_up(error)
            return found[: self.kept_results]
        try:
            inputs = _copies(given)
            replay, results = self.record(lambda: self.step(*inputs), anew)
            anew()
            replay()
            if far := _differing(results, expected) or self._otherwise(begun, after):
                raise RuntimeError(far)
        except RuntimeError as error:
            _put(after, places)
            self._give_up(error)
        else:
            self.kept[shape] = _Kept(inputs, replay, results[: self.kept_results])
        return expected[: self.kept_results]

    def _give_up(self, error: BaseException) -> None:
        self.works = False
        self.kept.clear()
        while error.__context__ is not None:  # to end a recording that broke off is an error as well
            error = error.__context__
        self.say(f"steps are not recorded as CUDA graphs: {one_line(error)}; they are done as ever")

    @torch.no_grad()
    def _otherwise(self, begun: Results, after: Results) -> str:
        """What the recording changes otherwise than the step, which brought ``begun`` to ``after``; empty: nothing."""
        pairs = zip(begun, after, strict=True)
        for kind, tensors in self.changed.items():
            norms = []
            for now, (old, new) in zip(tensors, pairs, strict=False):
                assert old is not None and new is not None
                norms.append(torch.stack([(now - new).float().norm(), (new - old).float().norm()]))
            error, size = torch.stack(norms).norm(dim=0).tolist() if norms else (0.0, 0.0)
            if not error <= ALIKE * size and size == size:
                return f"{kind} changed by {size:.3g}, and {error:.3g} otherwise"
        return ""


def _copies(tensors: Given) -> Results:
    return [None if tensor is None else tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _put(tensors: Given, places: Given) -> None:
    for place, tensor in zip(places, tensors, strict=True):
        if place is not None and tensor is not None:
            place.copy_(tensor)


def _differing(found: Given, expected: Results) -> str:
    """What is wrong with what a recording gives or leaves behind, in a line; empty: nothing."""
    numbers, norms = [], []
    for number, (mine, plain) in enumerate(zip(found, expected, strict=True)):
        if (mine is None) is not (plain is None):
            return f"result {number} is there only once"
        if mine is not None and plain is not None:
            numbers.append(number)
            norms.append(torch.stack([(mine.float() - plain.float()).norm(), plain.float().norm()]))
    read = torch.stack(norms).tolist() if norms else []  # at once: to read one waits for the device
    whole = math.hypot(*(size for _, size in read))
    for number, (error, size) in zip(numbers, read, strict=True):
        if not error <= max(NEAR * size, NOISE * whole) + 1e-6 and size == size:  # what is no number is so in both
            return f"result {number} differs by {error:.3g} of {size:.3g}"
    return ""


class CudaGraphs:
    """Records by CUDA. Recordings share their memory: of what one has computed only its results are still of use.

    Where one has failed, nothing more is recorded in the process: what PyTorch leaves behind is not sure to be sound.
    """

    work = True
    aside: Any = None  # the stream to record on: libraries keep memory for each that they meet

    def __init__(self) -> None:
        self.pool: Any = None

    def __call__(self, step: Callable[[], Results], before: Callable[[], None]) -> Recorded:
        """A replay of ``step``, and the tensors that it writes its results to."""
        current = torch.cuda.current_stream()
        CudaGraphs.aside = aside = CudaGraphs.aside or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        try:
            with torch.cuda.stream(aside):  # libraries get ready where nothing is recorded
                before()
                step()
        finally:
            current.wait_stream(aside)
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        before()
        try:  # meanwhile other threads pin batches
            with torch.cuda.graph(graph, pool=self.pool, stream=aside, capture_error_mode="thread_local"):
                results = step()
        except BaseException:
            CudaGraphs.work = False
            torch.cuda.set_stream(current)  # a recording that breaks off stays on its own
            with suppress(RuntimeError):  # and the generator goes on as if it were recorded
                at = torch.cuda.current_device()
                fresh = torch.Generator(f"cuda:{at}").graphsafe_get_state()
                torch.cuda.default_generators[at].graphsafe_set_state(fresh)
            raise
        return graph.replay, results
