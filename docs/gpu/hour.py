"""The first hour on a GPU: `make gpu`.

Pieces run one after another. A comparison that is cut off goes on in the next call, a benchmark of one model begins
again; the same command does what is left. Records lie in `results/gpu`; at the end of each call, `docs/gpu.md` is
written from them.

    make gpu                                  what is left, until done
    make gpu ARGS="--minutes 8"               eight minutes of it, and at most one more to save the state
    make gpu ARGS="--only parity --list"      names of pieces, and what is done
    make gpu ARGS="--device cpu"              a stand-in: the same pieces with tiny models, into results/gpu-cpu
    make gpu ARGS="--dry-run"                 plans of comparisons, commands of benchmarks; needs no GPU
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ARCHBENCH = (sys.executable, "-P", "-m", "archbench")
WRONG_INPUT, INTERRUPTED = 2, 130  # exit statuses of archbench
GRACE = 60  # seconds for an interrupted command to save its state
MODELS = ("gpt2", "llama", "bert", "t5")
JOBS = (1, 2, 4, 8)
SHORT = ("budget.parameters=20000", "budget.tokens=4000", "training.batch_tokens=512")
NARROW = ("model.width=32", "model.heads=2")
NEAR = ("context=64", "source_length=32", "test_examples=4")
FEW = ("tasks.phrases.data='phrases-en-de:2000'",)
PLAIN = ("training.compile=false", "training.precision=float32")


@dataclass(frozen=True)
class Piece:
    """A command of archbench and its stand-in on a CPU, both without output folder.

    ``device``: the only one that it runs on; "": the one that is asked for.
    """

    name: str
    command: tuple[str, ...]
    stand_in: tuple[str, ...]
    device: str = ""

    def line(self, device: str, out: Path) -> list[str]:
        """The command in full."""
        command = self.stand_in if device == "cpu" else self.command
        return [*command, "--device", self.device or device, "--out", str(out / self.name)]


def pieces() -> tuple[Piece, ...]:
    """What is done, in order: the cheapest answers first."""
    return tuple(_pieces())


def _pieces() -> Iterator[Piece]:
    parity, steps = _compare("parity"), _compare("steps")
    for name, device in (("float32", ""), ("bf16", ""), ("cpu", "cpu")):  # first what needs the GPU
        precise = (*parity, *_set(f"training.precision={'bf16' if name == 'bf16' else 'float32'}"))
        yield Piece(f"parity-{name}", precise, (*precise, *_set(*SHORT, *NARROW)), device)
    small = _set(*SHORT, *NARROW, *PLAIN, "conditions=[]", *(f"tasks.tiny-shakespeare.{size}" for size in NEAR))
    yield Piece("steps", steps, (*steps, *small))
    recomputed = _set("training.recompute=true", "conditions=[]")
    yield Piece("recomputed", (*steps, *recomputed), (*steps, *recomputed[:2], *small))
    for jobs in JOBS:
        several = (*_compare("several"), "--jobs", str(jobs))
        yield Piece(f"several-{jobs}", several, (*several, *_set(*SHORT, *NARROW, *FEW)))
    for model in MODELS:
        bench = ("bench", "--shape", "base", "--only", f"{model},training,compiled,scoring,generation,alone")
        tiny = ("bench", "--shape", "tiny", "--only", f"{model},training", "--pairs", "1")
        yield Piece(f"bench-{model}", bench, tiny)
    yield Piece("quick", ("compare", "--preset", "quick"), ("compare", "--preset", "smoke"))
    gpu = ("compare", "--preset", "gpu")
    budget = "tasks.sst2.budget.tokens=4000"
    yield Piece("gpu", gpu, (*gpu, *_set(*SHORT, *NARROW, *PLAIN, "seeds=[0]", budget)))


def _compare(name: str) -> tuple[str, ...]:
    return ("compare", str(HERE / f"{name}.toml"))


def _set(*values: str) -> tuple[str, ...]:
    return tuple(part for value in values for part in ("--set", value))


def run(device: str, out: Path, minutes: float, only: Sequence[str]) -> int:
    """Does what is left, for at most this long; the status of the first piece that failed, 0 otherwise.

    Wrong input to the first piece, such as a GPU that is not there, ends it at once. Later it may be missing data,
    which the other pieces do not need.
    """
    until = time.monotonic() + 60 * minutes
    worst = 0
    for piece in pieces():
        if only and not any(piece.name.startswith(name) for name in only):
            continue
        if not _is_done(out, piece) and (left := until - time.monotonic()) > 1:
            status = _perform(piece, device, out, left)
            if status == WRONG_INPUT and not any(_is_done(out, other) for other in pieces()):
                return status
            worst = worst or (status if status != INTERRUPTED else 0)
    return worst


def _perform(piece: Piece, device: str, out: Path, seconds: float) -> int:
    """Runs a piece for at most ``seconds``, then interrupts it; records how it ended."""
    line = piece.line(device, out)
    print(f"{piece.name}: archbench {' '.join(line)}", flush=True)
    start = time.monotonic()
    child = subprocess.Popen([*ARCHBENCH, *line], cwd=ROOT)
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        try:
            status = child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
    spent = time.monotonic() - start
    earlier = _record(out, piece)
    seconds, calls = round(earlier.get("seconds", 0.0) + spent, 1), int(earlier.get("calls", 0)) + 1
    record = {"status": status, "seconds": seconds, "calls": calls, "command": line}
    (out / "pieces").mkdir(parents=True, exist_ok=True)
    (out / "pieces" / f"{piece.name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{piece.name}: {_ended(status)} after {spent:.0f} s", flush=True)
    return status


def _record(out: Path, piece: Piece) -> dict[str, float]:
    file = out / "pieces" / f"{piece.name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _is_done(out: Path, piece: Piece) -> bool:
    return _record(out, piece).get("status") == 0


def _ended(status: int) -> str:
    return {0: "done", INTERRUPTED: "cut off; the next call goes on"}.get(status, f"failed with status {status}")


def dry_run(out: Path, only: Sequence[str]) -> int:
    """Says what the comparisons would train, planned on the CPU; the status of the first that cannot be planned.

    Benchmarks have no plan: their commands are printed.
    """
    worst = 0
    for piece in pieces():
        if only and not any(map(piece.name.startswith, only)):
            continue
        if piece.command[0] != "compare":
            print(f"{piece.name}: archbench {' '.join(piece.line('cuda', out))}", flush=True)
            continue
        line = [*piece.command, "--dry-run", "--device", "cpu", "--out", str(out / piece.name)]
        print(f"{piece.name}: archbench {' '.join(line)}", flush=True)
        worst = worst or subprocess.run([*ARCHBENCH, *line], cwd=ROOT).returncode
    return worst


def states(out: Path) -> str:
    """A line for each piece: whether it is done, and how long it took so far."""
    lines = []
    for piece in pieces():
        record = _record(out, piece)
        state = _ended(int(record["status"])) if record else "not started"
        lines.append(f"{piece.name:<16}{state}, {record.get('seconds', 0):.0f} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status is 0, or that of the first piece that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a stand-in with tiny models")
    limit = "stop after this long, and at most a minute more [default: 60]"
    parser.add_argument("--minutes", type=float, default=60.0, help=limit)
    parser.add_argument("--only", default="", help="names, or beginnings of names, of pieces; separate with commas")
    parser.add_argument("--dry-run", action="store_true", help="plan every comparison, train nothing")
    parser.add_argument("--list", action="store_true", help="print the state of all pieces and stop")
    parser.add_argument("--out", type=Path, help="folder for the records [default: results/gpu]")
    options = parser.parse_args(arguments)
    only = [name for name in options.only.split(",") if name]
    for name in only:
        if not any(piece.name.startswith(name) for piece in pieces()):
            parser.error(f"--only: no piece begins with {name}; --list prints all")
    out = (options.out or Path("results") / ("gpu" if options.device == "cuda" else "gpu-cpu")).resolve()
    status = 0
    if options.dry_run:
        return dry_run(out, only)
    if not options.list:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        status = run(options.device, out, options.minutes, only)
        if any(_is_done(out, piece) for piece in pieces()):
            page = HERE.parent / "gpu.md" if options.device == "cuda" else out / "gpu.md"
            subprocess.run([sys.executable, "-P", str(HERE / "write.py"), str(out), str(page)], cwd=ROOT, check=True)
            print(f"{page}: written from {out}")
    print(states(out))
    return status


if __name__ == "__main__":
    sys.exit(main())
