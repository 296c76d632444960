"""A kind of task that a package or a file adds, with no edit elsewhere: trained, scored, shown, asked and exported."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from new_modules import Modules, importable

from archbench import command_line
from archbench.runs.execution.work import perform
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import finished
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Outputs
from archbench.tasks.kinds import registry, scaffold, task
from archbench.tasks.metrics.builtin import BUILTIN

KIND = '''"""Sums of two digits."""

from archbench.tasks import TaskKind

kind = TaskKind(
    name="sums",
    does="add two numbers",
    form="pairs",
    columns=("question", "sum"),
    metrics=("exact_match",),
    primary=("exact_match",),
    source_length=8,
    target_length=4,
    tokenizer="char",
    test_examples=20,
    one_answer=True,
)
'''
DIGITS = """DIRECTION = "lower"
RANGE = (0.0, float("inf"))


def surplus(references, predictions):
    \"\"\"Characters that answers have beyond their references.\"\"\"
    return sum(max(0, len(p) - len(r)) for r, p in zip(references, predictions)) / len(references)
"""
EXPERIMENT = """
name = "adding"
architectures = ["decoder"]
[budget]
parameters = 20_000
tokens = 2_000
[model]
width = 32
heads = 4
[training]
batch_tokens = 512
[[tasks]]
kind = "sums"
data = "sums.csv"
"""
METADATA = {
    "theirs/__init__.py": "",
    "theirs/sums.py": KIND,
    "theirs/digits.py": DIGITS,
    "theirs/other.py": KIND.replace('"sums"', '"others"'),
    "theirs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
    "theirs-1.0.dist-info/entry_points.txt": """[archbench.tasks]
sums = theirs.sums:kind
broken = theirs.absent:kind
module = theirs.digits
renamed = theirs.other:kind
translation = theirs.sums:kind
[archbench.metrics]
surplus = theirs.digits:surplus
chrf = theirs.digits:surplus
""",
}


def written(folder: Path, kind: str = "sums", more: str = "") -> Path:
    """An experiment in ``folder`` with the data it names."""
    rows = [f"{a}+{b},{a + b}" for a in range(10) for b in range(10)]
    (folder / "sums.csv").write_text("\n".join(["question,sum", *rows]) + "\n")
    (folder / "adding.toml").write_text(EXPERIMENT.replace('kind = "sums"', f'kind = "{kind}"') + more)
    return folder / "adding.toml"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    """An installed package that offers a kind and a metric; the experiment is in the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with importable(tmp_path / "site") as modules:
        for name, text in METADATA.items():
            modules.write(name, text)
        yield modules


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command and gives what it prints, or its mistake where it ends with status 2."""

    def run(*arguments: str) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main(arguments)
        output, errors = capfd.readouterr()
        assert (stopped.value.code or 0) == (0 if output else 2), errors
        return output or errors

    return run


def test_a_package_adds_a_kind_and_a_metric(package: Modules, printed: Callable[..., str]) -> None:
    assert "from another package: theirs.sums:kind" in printed("list", "kinds")
    assert "from another package: theirs.digits:surplus" in printed("list", "metrics")
    written(Path(), more='metrics = ["surplus", "chrf"]\n')
    printed("compare", "adding.toml", "--jobs", "1")
    root = Path("results/adding")
    tables = {path.stem: pd.read_parquet(path) for path in (root / "tables").glob("*.parquet")}
    [run] = tables["runs"]["run"]
    assert tables["runs"]["task"].item() == "sums" and tables["runs"]["status"].item() == "done"
    dataset = tables["datasets"].iloc[0]
    assert dataset["kind"] == "sums" and dataset["primary"] == "exact_match" and dataset["one_answer"]
    scores = tables["scores"]
    scored = list(scores.loc[scores["split"] == "test", "metric"])
    likelihood = ["nll_per_token", "perplexity", "bits_per_byte", "bits_per_byte_shuffled"]
    assert scored == ["exact_match", *likelihood, "surplus", "chrf"]
    assert {"copy", "nearest", "ngram", "lzma", "untrained"} <= set(tables["references"]["name"])
    facts = tables["metrics"].set_index("metric").loc["surplus"]
    assert facts["better"] == "lower" and facts["least"] == 0 and facts["meaning"].startswith("characters that")
    page = (root / "report" / "index.html").read_text()
    assert "surplus" in page and ("wrong" in page or "right" in page)
    package.forget()
    for name in list(METADATA)[:4]:
        (package.folder / name).unlink()
    assert printed("predict", f"{root}/runs/{run}", "3+4"), "a finished run is read without the code of its kind"
    printed("export", f"{root}/runs/{run}", "exported")
    assert "to add two numbers" in Path("exported/README.md").read_text()
    before = (root / "report" / "index.html").read_bytes()
    printed("report", str(root))
    assert (root / "report" / "index.html").read_bytes() == before, "reports run no code of kinds and metrics"


def test_mistakes_of_a_package_are_one_line(package: Modules) -> None:
    for name, message in {
        "broken": "broken of another package (theirs.absent:kind) cannot be loaded: ModuleNotFoundError",
        "module": "gives a module; expected kind = TaskKind(...)",
        "renamed": 'calls itself "others"; the two names have to be the same',
        "sum": '"sum": there is no such kind of task; did you mean "sums"?',
    }.items():
        with pytest.raises(InputError) as error:
            registry.find(name)
        assert message in str(error.value) and "\n" not in str(error.value)
    assert registry.find("translation") is registry.BUILTIN["translation"], "a package takes no built-in's name"


def planned(path: Path) -> tuple[Plan, ...]:
    options = {"device": "cpu", "deterministic": False, "cache": path.parent / "cache", "root": path.parent / "out"}
    return matrix.plan(spec.load(path), say=lambda line: None, **options).plans  # type: ignore[arg-type]


def test_a_file_is_a_kind_and_a_run_is_of_its_code(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(KIND)
    path = written(tmp_path, "sums.py")
    task = spec.load(path).tasks[0]
    assert (task.kind, task.kind_file, task.source_length, task.tokenizer) == ("sums", "sums.py", 8, "char")
    [plan] = planned(path)
    perform(plan, tmp_path / "out" / "runs" / plan.run, lambda event: None, lambda: False)
    facts = json.loads((tmp_path / "out" / "runs" / plan.run / "task.json").read_text())
    assert facts["kind"] == "sums" and facts["form"] == "pairs" and facts["does"] == "add two numbers"
    [same] = planned(path)
    assert (same.run, same.kind_code) == (plan.run, plan.kind_code)
    (tmp_path / "sums.py").write_text(KIND.replace("two numbers", "numbers"))
    [other] = planned(path)
    assert other.run == plan.run and other.kind_code != plan.kind_code
    with pytest.raises(RuntimeError, match="the kind of sums changed since the runs were planned"):
        perform(plan, tmp_path / "again", lambda event: None, lambda: False)


def test_a_kind_of_others_takes_built_in_data_of_its_form(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(KIND)
    path = written(tmp_path, "sums.py")
    for data, served in {"phrases-en-de:50": "translation", "random-strings:50": None, "sentiment": None}.items():
        assert registry.builtin_kind(registry.find("sums.py", tmp_path), data) == served
    assert registry.primary(registry.find("sums.py", tmp_path), "bible-en-de") == ("exact_match",)
    path.write_text(path.read_text().replace("sums.csv", "sentiment"))
    refused = r'tasks\[0\].data: the built-in "sentiment" is for classification, not for sums'
    with pytest.raises(InputError, match=refused):
        spec.load(path)


MISTAKES = {
    "kind = 3\n": "gives a int; expected kind = TaskKind(...)",
    "other = 3\n": "gives nothing; expected kind = TaskKind(...)",
    "import nothing_there\n": "sums.py:1: fails: ModuleNotFoundError",
    "raise SystemExit(3)\n": "sums.py:1: fails: SystemExit: 3",
    KIND.replace('"sums"', '"translation"'): '"translation" is a built-in kind; choose another name',
    KIND.replace('"sums"', '"Sums"'): "name: 'Sums': expected lower-case letters",
    KIND.replace('"pairs"', '"pair"'): "form: 'pair': expected running text, labels or pairs",
    KIND.replace('("question", "sum")', '("question",)'): "pairs takes 2",
    KIND.replace('("question", "sum")', '["question"]'): "pairs takes 2",
    KIND.replace('("exact_match",)', '("exact_match")'): "metrics: 'exact_match': expected a tuple",
    KIND.replace('"char"', '"letters"'): "tokenizer: 'letters': is not among",
    KIND.replace('("exact_match",)', '("exact_mach",)'): 'no metric "exact_mach"; did you mean "exact_match"?',
    KIND.replace('primary=("exact_match",)', 'primary="exact_match"'): "primary: 'exact_match': expected a tuple",
    KIND.replace(
        'primary=("exact_match",)', 'primary=("bleu",), judged=("chrf",)'
    ): "expected some of judged = ('chrf',)",
    KIND.replace('primary=("exact_match",)', "primary=()"): "primary: (): expected some of judged",
    KIND.replace("target_length=4", "target_length=1"): "expected at least 2, a token and END",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_mistakes_of_a_file_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sums.py").write_text(text)
    with pytest.raises(InputError) as error:
        spec.load(written(tmp_path, "sums.py"))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'adding.toml'}: tasks[0].kind: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tasks\[0\].kind: .*absent.py: there is no such file"):
        spec.load(written(tmp_path, "absent.py"))
    (tmp_path / "sums.py").write_text(KIND)
    with pytest.raises(InputError, match=r'"sums": there is no such kind of task; did you mean "sums.py"\?'):
        spec.load(written(tmp_path, "sums"))


def test_every_built_in_kind_names_metrics_that_there_are() -> None:
    for kind in registry.BUILTIN.values():
        assert {*kind.metrics, *kind.judged, *kind.primary} <= set(BUILTIN)
        assert kind.encoded_as == kind.name and kind.numerics >= 1


@pytest.mark.parametrize("like", [name for name, kind in registry.BUILTIN.items() if not kind.only_data])
def test_a_new_kind_is_like_a_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Callable[..., str], like: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert 'kind = "mine.py"' in printed("new", "mine", "--task", like)
    assert max(map(len, Path("mine.py").read_text().splitlines())) <= 120
    kind, base = registry.find("mine.py"), registry.BUILTIN[like]
    for key in ("form", "columns", "metrics", "primary", "tokenizer", "test_examples", "source_length", "one_answer"):
        assert getattr(kind, key) == getattr(base, key)
    assert "mine.py: already exists" in printed("new", "mine", "--task", like)


def test_the_measure_in_a_new_kind_scores_minimal_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = scaffold.kind_text("mine", "translation")
    (arguments,) = re.findall(r"^#     (measure=.*)$", text, re.MULTILINE)
    commented, kind = text[text.index("# from archbench") :].split("\n\nkind = ")
    kind = kind.replace('("exact_match", "bleu", "chrf")', '("accuracy",)')
    kind = kind.replace('primary=("bits_per_byte", "bleu"),', f'primary=("accuracy",),\n    {arguments}')
    code = re.sub("^# ?", "", commented, flags=re.MULTILINE)
    Path("mine.py").write_text(f"from archbench.tasks import TaskKind\n{code}\nkind = {kind}")
    mine = registry.find("mine.py")
    rows, nats = np.array([0, 1, 2, 4, 5, 6, 7]), np.array([1.0, 2.0, 9.0, 3.0, 3.0, 5.0, 4.0])  # row 3 is missing
    (score,) = mine.measure(None, Outputs([], ["x"] * 7, [], nats, rows, rows, None, rows=rows))
    assert (score.metric, score.value, score.n) == ("accuracy", 0.5, 3)
    assert mine.decoding(None).count == 0


def test_baselines_of_a_kind_with_a_measure_of_its_own_have_the_metrics_of_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"metrics": ("carries", "exact_match"), "measure": lambda *_: [], "baselines": None}
    kind = replace(registry.BUILTIN["translation"], **changes)
    monkeypatch.setattr(registry, "of", lambda config: kind)
    monkeypatch.setattr(task.text_to_text, "baselines_by", lambda metrics, *rows: lambda prepared: metrics)
    assert task.baselines(SimpleNamespace(config=None)) == ["exact_match"]  # type: ignore[arg-type]


def test_runs_of_built_in_kinds_need_no_recorded_form() -> None:
    """Those of early versions have none."""
    assert finished._kind({"kind": "translation"})[:2] == ("translation", "pairs")
