"""Checkpoints of transformers in a folder: their own tokens and weights, scored as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoint_folders
import pytest
import tiny_runs
import torch
from transformers import AutoTokenizer, ViTConfig

import archbench
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, count
from archbench.architectures.objectives.objective import Batch
from archbench.runs.execution import dry_run, work
from archbench.runs.experiment import spec
from archbench.runs.export import export
from archbench.runs.planning import matrix
from archbench.runs.scoring import finished
from archbench.runs.scoring.predict import predict
from archbench.tasks.base import sealed
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, SPECIALS, UNK
from archbench.tasks.text.tokenizers import from_library_json

KINDS = {"gpt2": checkpoint_folders.gpt2, "bert": checkpoint_folders.bert, "t5": checkpoint_folders.t5}
LABELS = ("negative", "positive")
SHIFT = len(SPECIALS) + len(LABELS)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: (root / name, make(root / name)) for name, make in KINDS.items()}


def ours(folder: Path) -> Any:
    variant = catalogue.find(str(folder))
    tokenizer = from_library_json(variant.checkpoint.tokenizer, LABELS)
    return variant.builder(LABELS)(variant.checkpoint.size, Limits(tokenizer.vocabulary, 16, 8))


def special(folder: Path, *names: str) -> int:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return next(getattr(tokenizer, name) for name in names if getattr(tokenizer, name) is not None)


def text_logits(folder: Path, logits: torch.Tensor) -> torch.Tensor:
    """Their logits (..., v) in our numbering: special tokens excluded, labels, text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = [tokenizer.encode(f" {name}", add_special_tokens=False) for name in LABELS]
    return torch.cat([torch.stack([logits[..., rows].mean(-1) for rows in names], -1), logits], -1)


def test_text_has_the_checkpoints_logits_and_a_label_the_mean_of_its_name(checkpoints: dict[str, Any]) -> None:
    folder, theirs = checkpoints["gpt2"]
    ids = torch.randint(3, 200, (2, 6), generator=torch.Generator().manual_seed(0))
    end = special(folder, "eos_token_id")
    expected = theirs(torch.cat([ids, torch.full((2, 1), end)], 1)).logits[:, -1]
    logits = ours(folder)(ids + SHIFT, torch.full((2, 1), BOS))[:, 0]
    assert (logits[:, len(SPECIALS) :] - text_logits(folder, expected)).abs().max() < 1e-4
    assert (logits[:, END] - expected[:, end]).abs().max() < 1e-4


def test_a_decoder_goes_on_directly_behind_its_source(checkpoints: dict[str, Any]) -> None:
    folder, theirs = checkpoints["gpt2"]
    model, end = ours(folder), special(folder, "eos_token_id")
    random = torch.Generator().manual_seed(0)
    rows = [(torch.randint(3, 200, (s,), generator=random), torch.randint(3, 200, (3,), generator=random))
            for s in (6, 2, 0)]  # fmt: skip
    source = torch.zeros(3, 6, dtype=torch.long)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    for row, (text, _) in enumerate(rows):
        source[row, : len(text)], mask[row, : len(text)] = text + SHIFT, True
    allowed_tokens = torch.ones(model.embedding.weight.shape[0], dtype=torch.bool)
    allowed_tokens[:SHIFT] = False
    target = torch.stack([written for _, written in rows]) + SHIFT
    log_p, _ = model.objective.log_likelihood(model, Batch(source, target, mask), allowed_tokens)
    for row, (text, written) in enumerate(rows):
        start = text if len(text) else torch.tensor([end])
        scores = theirs(torch.cat([start, written])[None]).logits[0, len(start) - 1 : -1].log_softmax(-1)
        expected = scores.gather(1, written[:, None]).sum()
        assert abs(log_p[row] - expected) < 1e-4
    greedy = Decoding(max_tokens=5)
    answers = model.objective.generate(model, source[:2], mask[:2], allowed_tokens, greedy)
    for (text, _), tokens in zip(rows, answers, strict=False):
        continuation = theirs.generate(text[None], max_new_tokens=5, do_sample=False, eos_token_id=None, pad_token_id=0)
        assert (tokens - SHIFT).tolist() == continuation[0, len(text) :].tolist()


def test_an_encoder_writes_where_its_mask_stands(checkpoints: dict[str, Any]) -> None:
    folder, theirs = checkpoints["bert"]
    text = torch.randint(5, 50, (2, 5), generator=torch.Generator().manual_seed(0))
    cls, sep, mask = (special(folder, f"{name}_token_id") for name in ("cls", "sep", "mask"))
    canvas = torch.cat([torch.full((2, 1), cls), text, torch.tensor([[sep, mask]] * 2)], 1)
    model = ours(folder)
    model.canvas = 1
    allowed = torch.zeros(model.embedding.weight.shape[0], dtype=torch.bool)
    allowed[len(SPECIALS) : SHIFT] = True
    pairs = Batch(text + SHIFT, torch.full((2, 1), len(SPECIALS) + 1))
    log_p, _ = model.objective.log_likelihood(model, pairs, allowed)
    logits = text_logits(folder, theirs(canvas).logits[:, -1])[:, : len(LABELS)]
    assert (log_p - logits.log_softmax(1)[:, 1]).abs().max() < 1e-4


def test_a_t5_reads_the_source_as_it_was_taught(checkpoints: dict[str, Any]) -> None:
    folder, theirs = checkpoints["t5"]
    ids = torch.randint(3, 30, (2, 6), generator=torch.Generator().manual_seed(0))
    written = ids[:, :3].flip(1)
    decoder_ids = torch.cat([torch.zeros(2, 1, dtype=torch.long), written[:, :-1]], 1)
    expected = theirs(torch.cat([ids, torch.full((2, 1), 1)], 1), decoder_input_ids=decoder_ids).logits
    model = ours(folder)
    count = model.embedding.weight.shape[0] - SHIFT
    assert count < expected.shape[-1]  # rows without a token are left out
    allowed_tokens = torch.ones(count + SHIFT, dtype=torch.bool)
    allowed_tokens[:SHIFT] = False
    log_p, _ = model.objective.log_likelihood(model, Batch(ids + SHIFT, written + SHIFT), allowed_tokens)
    scores = expected[..., :count].log_softmax(-1).gather(-1, written[..., None]).sum((1, 2))
    assert (log_p - scores).abs().max() < 1e-4


@pytest.mark.parametrize("name", KINDS)
def test_its_tokenizer_accounts_for_every_byte(checkpoints: dict[str, Any], name: str) -> None:
    tokenizer = from_library_json(catalogue.find(str(checkpoints[name][0])).checkpoint.tokenizer, LABELS)
    text = "The 27 lovely  days, Märzbier!\n[MASK] </s> <|endoftext|> \u6f22 end "
    pieces = list(tokenizer.encode_stream([text]))
    assert sum(int(widths.sum()) for _, _, widths in pieces) == len(text.encode())
    assert all(len(ids) == len(widths) for _, ids, widths in pieces)
    plain = tokenizer.encode("lovely [MASK] </s> <|endoftext|>")
    assert all(tokenizer.writable[token] or token == UNK for token in plain)  # special tokens never come out of text
    assert tokenizer.decode(tokenizer.encode("lovely days, positive")).strip() == "lovely days, positive"
    assert (UNK in tokenizer.encode("\u6f22")) == bool(tokenizer.writable[UNK])


def changed(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def test_fields_of_the_first_checkpoints_are_known(tmp_path: Path) -> None:
    checkpoint_folders.gpt2(tmp_path)
    changed(
        tmp_path,
        n_ctx=128,
        n_special=0,
        predict_special_tokens=True,
        output_past=True,
        task_specific_params={"a": 1},
        mask_token_id=4,
        no_repeat_ngram_size=3,
        _attn_implementation_autoset=True,
    )
    assert catalogue.find(str(tmp_path)).family == "decoder"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "there is no config.json in it"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda folder: ViTConfig().save_pretrained(folder), "the model_type 'vit' is not supported (known: gpt2, "),
        (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights in the safetensors format"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "model.bin"), "if you trust the ones that are"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "there is no tokenizer in it (tokenizer.json, "),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "the tokenizer cannot be read"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "archbench"}'), "only archbench has"),
        (
            lambda folder: changed(folder, add_cross_attention=True),
            "config.json: gpt2 configuration: add_cross_attention",
        ),
        (
            shutil.rmtree,
            "does not exist; expected a checkpoint's folder (or, in architectures, a .py file); write the name of a "
            "model of the hub",
        ),
    ],
    ids=[
        "no config",
        "damaged config",
        "another model",
        "no weights",
        "pickled weights",
        "no tokenizer",
        "damaged tokenizer",
        "one of ours",
        "what we lack",
        "nothing",
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    checkpoint_folders.gpt2(tmp_path / "mine")
    spoil(tmp_path / "mine")
    with pytest.raises(InputError) as error:
        catalogue.find(str(tmp_path / "mine"))
    assert message in str(error.value) and str(tmp_path / "mine") in str(error.value)
    assert "\n" not in str(error.value)


def test_code_in_a_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint_folders.gpt2(tmp_path / "mine")
    (tmp_path / "mine" / "configuration_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "configuration_evil.EvilConfig"}}
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        catalogue.find(str(tmp_path / "mine"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("\u6f22", "date"), "does not know the label"), (("date", "Date"), "'date' and 'Date' alike")],
)
def test_labels_that_cannot_be_told_apart_are_named(
    checkpoints: dict[str, Any], labels: tuple[str, str], message: str
) -> None:
    variant = catalogue.find(str(checkpoints["bert"][0]))
    vocabulary = from_library_json(variant.checkpoint.tokenizer, labels).vocabulary
    with pytest.raises(InputError, match=message):
        variant.builder(labels)(variant.checkpoint.size, Limits(vocabulary, 16, 1))


@pytest.mark.parametrize("name", KINDS)
def test_it_is_counted_without_its_weights_as_with_them(checkpoints: dict[str, Any], name: str) -> None:
    pretrained = catalogue.find(str(checkpoints[name][0])).checkpoint
    limits = Limits(from_library_json(pretrained.tokenizer, LABELS).vocabulary, 16, 8)
    blank, built = pretrained.blank(limits), pretrained.build(limits, LABELS)
    assert count(blank) == count(built) and next(blank.parameters()).is_meta
    assert {k: v.shape for k, v in blank.state_dict().items()} == {k: v.shape for k, v in built.state_dict().items()}


def test_a_damaged_copy_of_its_tokenizer_is_written_again(checkpoints: dict[str, Any], tmp_path: Path) -> None:
    scored(checkpoints["gpt2"][0], tmp_path)
    (copy,) = (tmp_path / "cache" / "tokenizers").iterdir()
    copy.write_text(copy.read_text()[:100])
    task = {**EXPERIMENT["tasks"][0], "source_length": 20}
    assert scored(checkpoints["gpt2"][0], tmp_path, tasks=[task]).is_dir()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint_folders.gpt2(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    variant = catalogue.find(str(tmp_path))
    with pytest.raises(InputError, match=r"transformer\.h\.1\.mlp\.c_fc\.weight are missing"):
        variant.builder(LABELS)(variant.checkpoint.size, Limits(400, 16, 8))


EXPERIMENT: dict[str, Any] = {
    "name": "mixed",
    "budget": {"parameters": 20_000, "tokens": 2_000},
    "model": {"width": 32},
    "training": {"batch_tokens": 512},
    "tasks": [
        {
            "kind": "classification",
            "data": "phrases-en-de:300",
            "name": "kinds",
            "vocabulary": 300,
            "source_length": 24,
            "test_examples": 20,
        }
    ],
}


def scored(folder: Path, root: Path, **changes: Any) -> Path:
    """The run of a checkpoint alone, done in this process."""
    experiment = spec.from_dict({**EXPERIMENT, "architectures": [str(folder)], **changes})
    planned = matrix.plan(
        experiment, device="cpu", deterministic=False, cache=root / "cache", root=root, say=lambda line: None
    )
    (plan,) = planned.plans
    work.perform(plan, root / "runs" / plan.run, lambda progress: None, lambda: False)
    return root / "runs" / plan.run


def test_a_dry_run_says_that_a_checkpoint_is_only_scored(checkpoints: dict[str, Any], tmp_path: Path) -> None:
    planned = tiny_runs.planned(
        spec.from_dict({**EXPERIMENT, "architectures": ["decoder", str(checkpoints["gpt2"][0])]}), tmp_path, tmp_path
    )
    head, decoder, checkpoint = dry_run._table(planned)
    match = head.index("match")
    assert (decoder[match], checkpoint[match]) == ("parameters", "scored only")


def test_a_part_of_the_budget_of_a_finetuned_checkpoint_stands_apart(
    checkpoints: dict[str, Any], tmp_path: Path
) -> None:
    task = {**EXPERIMENT["tasks"][0], "start": str(checkpoints["gpt2"][0])}
    values = {**EXPERIMENT, "architectures": ["decoder"], "tasks": [task], "conditions": [{"share": 0.5}]}
    planned = tiny_runs.planned(spec.from_dict(values), tmp_path, tmp_path)
    tokens = {plan.run: plan.tokens for plan in planned.plans}
    places = {(entry.role, entry.share): tokens[entry.run] for entry in planned.entries}
    assert places == {("compared", 1.0): 2_000, ("share", 0.5): 1_000}


def test_checkpoints_are_scored_beside_what_is_trained(checkpoints: dict[str, Any], tmp_path: Path) -> None:
    experiment = {
        **EXPERIMENT,
        "seeds": [0, 1],
        "architectures": ["decoder", *(str(folder) for folder, _ in checkpoints.values())],
    }
    tables = archbench.compare(experiment, tmp_path / "out", jobs=1)
    runs = tables["runs"].set_index("architecture")
    assert (runs["status"] == "done").all() and list(runs.index) == [
        "decoder",
        "decoder",
        *(f"./{kind}" for kind in KINDS),
    ]
    assert (runs.loc[[f"./{kind}" for kind in KINDS], "train_tokens"] == 0).all() and (
        runs.loc[[f"./{kind}" for kind in KINDS], "match"] == "none"
    ).all()
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "3 pretrained checkpoints (./gpt2, ./bert and ./t5) were scored without training" in page


def test_a_scored_checkpoint_answers_and_is_missed_when_it_changed(tmp_path: Path) -> None:
    checkpoint_folders.gpt2(tmp_path / "mine")
    folder = scored(tmp_path / "mine", tmp_path / "out")
    assert not (folder / "model.safetensors").exists() and not (folder / "variant.py").exists()
    assert (tmp_path / "out" / "references" / "kinds.json").is_file()
    answer = predict(folder, "twenty days")
    assert sum(probability for _, probability in answer.probabilities) == pytest.approx(1.0)
    with pytest.raises(InputError, match="scored a checkpoint without training it; load that checkpoint instead"):
        export.export(folder, tmp_path / "exported")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    (tmp_path / "mine" / "config.json").write_text(json.dumps({**config, "activation_function": "relu"}))
    with pytest.raises(InputError, match="mine has changed since"):
        finished.read(folder)


def test_too_few_positions_are_told(tmp_path: Path) -> None:
    checkpoint_folders.gpt2(tmp_path / "short", positions=20)
    with pytest.raises(InputError, match="has room for 20 tokens of source and target, but kinds needs 25"):
        scored(tmp_path / "short", tmp_path / "out")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["generation", "translation"])
def test_every_kind_of_task_can_be_scored(checkpoints: dict[str, Any], name: str, kind: str, tmp_path: Path) -> None:
    task = {"kind": kind, "data": "phrases-en-de:300", "test_examples": 4}
    lengths = {"context": 24} if kind == "generation" else {"source_length": 24, "target_length": 40}
    folder = scored(checkpoints[name][0], tmp_path, tasks=[{**task, **lengths}])
    scores = {row["metric"]: row["value"] for row in sealed.read_json(folder / "scores.json")}
    assert 0 < scores["nll_per_token"] < 100
    assert ("bits_per_byte" in scores) == (name == "gpt2")  # the others have tokens for unknown text


def test_bits_are_counted_only_where_tokens_tell_the_text(checkpoints: dict[str, Any]) -> None:
    texts = ["a lovely day", "The day, 27 M\u00e4rz"]
    lossless = {
        name: from_library_json(catalogue.find(str(folder)).checkpoint.tokenizer, LABELS).is_lossless(texts)
        for name, (folder, _) in checkpoints.items()
    }
    assert lossless == {"gpt2": True, "bert": False, "t5": True}
    assert not from_library_json(catalogue.find(str(checkpoints["t5"][0])).checkpoint.tokenizer).is_lossless(["\u6f22"])
