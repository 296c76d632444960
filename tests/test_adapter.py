"""Models behind the interface of ``transformers``: nothing runs that was not named, nothing loads that does not fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import MINE, trained, write_data

from archbench.architectures.catalogue import catalogue, digests
from archbench.architectures.conversion.structure import difference
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.interop import adapter, configuration
from archbench.runs.export import export
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS


@pytest.fixture(scope="module")
def exported_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported run of a user's variant."""
    root = tmp_path_factory.mktemp("own")
    folder = write_data(root)
    export.export(trained(folder, root, str(folder / "mine.py"), "colours"), root / "out")
    return root / "out"


@pytest.fixture
def copy(exported_run: Path, tmp_path: Path) -> Path:
    """The exported run, to be damaged."""
    return Path(shutil.copytree(exported_run, tmp_path / "copy"))


def loaded(folder: Path, **options: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **options)


def test_a_variant_of_the_user_is_run_only_when_it_is_named(copy: Path) -> None:
    text = (copy / "variant.py").read_text()
    assert text == MINE and 'variant_file="variant.py"' in (copy / "README.md").read_text()
    (copy / "variant.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(
        InputError, match=r'runs no code of others; read it, then pass variant_file="path/to/variant\.py"'
    ):
        loaded(copy)
    with pytest.raises(InputError, match=r"variant\.py: not the variant that this model was trained as"):
        loaded(copy, variant_file=copy / "variant.py")
    (copy / "variant.py").write_text(text)
    model = loaded(copy, variant_file=copy / "variant.py")
    model.save_pretrained(copy / "again")
    again = loaded(copy / "again", variant_file=str(copy / "variant.py")).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


def test_a_variant_that_imports_another_file_of_the_user_is_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helper.py").write_text("DEPTH = 1\n")
    path = tmp_path / "mine.py"
    path.write_text(f"{MINE}\nimport helper\n")
    config = configuration.ArchbenchConfig(variant_sha256=digests.of(catalogue.find(str(path))))
    assert configuration.variant(config, path).path == str(path)
    (tmp_path / "helper.py").write_text("DEPTH = 2\n")
    with pytest.raises(InputError, match=r"mine\.py: not the variant that this model was trained as"):
        configuration.variant(config, path)


@pytest.mark.parametrize("name", ["variant.py", "./variant.py", "transformers:gpt2", "../mine", "encoder"])
def test_a_configuration_cannot_name_code_to_run(copy: Path, name: str) -> None:
    (copy / "variant.py").write_text("raise SystemExit('this ran')")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "variant": name}))
    with pytest.raises(
        InputError, match=r"runs no code of others|encoder: not the variant that this model was trained as"
    ):
        loaded(copy)


@pytest.mark.parametrize("change", ["missing", "unexpected", "mismatched"])
def test_weights_that_do_not_fit_are_an_error(copy: Path, change: str) -> None:
    tensors = load_file(copy / "model.safetensors")
    if change == "unexpected":
        tensors["model.other"] = torch.zeros(2)
    else:
        norm_weight = tensors.pop("model.stack.norm.weight")
        tensors |= {"model.stack.norm.weight": norm_weight[:-1].clone()} if change == "mismatched" else {}
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"{change}_keys.*model\.(other|stack\.norm\.weight)".replace("_", " ")):
        loaded(copy, variant_file=copy / "variant.py")


def test_another_class_and_settings_without_meaning_are_errors(copy: Path) -> None:
    from transformers import AutoModelForMaskedLM

    with pytest.raises(InputError, match="ArchbenchForCausalLM, not ArchbenchForMaskedLM"):
        AutoModelForMaskedLM.from_pretrained(copy, variant_file=copy / "variant.py")
    model, prompt = loaded(copy, variant_file=copy / "variant.py"), torch.tensor([[7, BOS]])
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"repetition_penalty": 1.5}, "repetition_penalty is not supported"),
        ({"streamer": object()}, "streamer is not supported"),
        ({"eos_token_id": 5}, "eos_token_id = 5 is not supported; 2 is"),
        ({"max_new_tokens": 2}, "2 new tokens requested; expected 1 to 1"),
        ({"max_new_tokens": 0}, "0 new tokens requested; expected 1 to 1"),
        ({"max_new_tokens": 1.5}, "1.5 new tokens requested; expected 1 to 1"),
        ({"num_beams": 2, "do_sample": True}, "pass do_sample=False, or leave num_beams out"),
        ({"num_beams": 0}, "num_beams = 0; expected a whole number, 1 or more"),
        ({"num_beams": 2.5}, "num_beams = 2.5; expected a whole number"),
        ({"num_beams": "4"}, "num_beams = '4'; expected a whole number"),
        ({"temperature": 0.0, "do_sample": True}, "temperature = 0.0; expected a number above 0"),
        ({"temperature": float("nan")}, "temperature = nan; expected a number above 0"),
        ({"top_k": -1}, "top_k = -1; expected a whole number"),
        ({"top_p": 7.0}, "top_p = 7.0; expected a number above 0, at most 1"),
        ({"length_penalty": float("inf")}, "length_penalty = inf; expected a number"),
    ]
    for settings, message in wrong:
        with pytest.raises(InputError, match=message):
            model.generate(prompt, **settings)
    with pytest.raises(InputError, match="lacks <bos>"):
        model.generate(torch.tensor([[7, 8]]))


@pytest.mark.parametrize("architecture", ["decoder", "prefix-decoder", "encoder"])
def test_padding_on_either_side_changes_nothing(architecture: str) -> None:
    variant = catalogue.find(architecture)
    size, limits = Size(16, 2, 1, 24), Limits(30, 6, 4)
    ours = variant.build(size, limits).eval()
    with torch.no_grad():
        for tensor in ours.parameters():
            tensor.normal_(0, 0.3, generator=torch.Generator().manual_seed(tensor.numel()))
    config = configuration.described(architecture, digests.of(variant), variant.family, size, limits)
    model = adapter.wrapped(ours, config)
    prompts = [[7, 8, 9, 10, BOS], [BOS], [11, 12, BOS]]
    alone = [model.generate(torch.tensor([prompt]))[0, len(prompt) :].tolist() for prompt in prompts]
    for left in (True, False):
        tokens, mask = torch.zeros(3, 5, dtype=torch.long), torch.zeros(3, 5, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            place = slice(5 - len(prompt), None) if left else slice(len(prompt))
            tokens[row, place], mask[row, place] = torch.tensor(prompt), 1
        written = model.generate(tokens, mask)
        assert (written[:, :5] == tokens).all()
        assert [row[: len(answer)] for row, answer in zip(written[:, 5:].tolist(), alone, strict=True)] == alone
        logits = model(tokens, attention_mask=mask).logits
        for row, prompt in enumerate(prompts):
            expected = model(torch.tensor([prompt])).logits[0]
            torch.testing.assert_close(logits[row, mask[row].bool()], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["shared-encoder-decoder", "gpt2", "t5-gated"])
def test_tensors_that_are_one_stay_one(tmp_path: Path, architecture: str) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    variant = catalogue.find(architecture)
    size, limits = Size(16, 2, 2, 24), Limits(30, 6, 4)
    ours = variant.build(size, limits)
    config = configuration.described(architecture, digests.of(variant), variant.family, size, limits)
    adapter.wrapped(ours, config).save_pretrained(tmp_path)
    auto = AutoModelForCausalLM if variant.family == "decoder" else AutoModelForSeq2SeqLM
    theirs = auto.from_pretrained(tmp_path).model
    assert difference(theirs, ours) is None
    assert all(torch.equal(theirs.state_dict()[name], tensor) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("architecture", ["decoder", "bert", "t5"])
def test_half_precision_works_on_a_processor_too(architecture: str, precision: torch.dtype) -> None:
    variant = catalogue.find(architecture)
    size, limits = Size(16, 2, 1, 24), Limits(30, 6, 4)
    ours = variant.build(size, limits)
    with torch.no_grad():
        for tensor in ours.parameters():
            tensor.normal_(0, 0.3, generator=torch.Generator().manual_seed(tensor.numel()))
    config = configuration.described(architecture, digests.of(variant), variant.family, size, limits)
    model = adapter.wrapped(ours, config)
    prompt = torch.tensor([[7, 8, BOS], [9, 10, BOS]])
    expected = model(prompt).logits
    logits = model.to(precision)(prompt).logits
    assert logits.dtype == precision
    torch.testing.assert_close(logits.float(), expected, atol=0.1 * float(expected.detach().abs().max()), rtol=0)
    assert len(model.generate(prompt)) == 2


@pytest.mark.parametrize("architecture", ["decoder", "encoder", "encoder-decoder"])
def test_prompts_may_be_called_inputs_and_labels_are_refused(architecture: str) -> None:
    variant = catalogue.find(architecture)
    size, limits = Size(16, 2, 1, 24), Limits(30, 6, 4)
    config = configuration.described(architecture, digests.of(variant), variant.family, size, limits)
    model, prompt = adapter.wrapped(variant.build(size, limits), config), torch.tensor([[7, 8, BOS], [9, 10, BOS]])
    assert torch.equal(model.generate(inputs=prompt), model.generate(input_ids=prompt))
    for arguments in ({}, {"inputs": prompt, "input_ids": prompt}):
        with pytest.raises(InputError, match="input_ids or as inputs, not both"):
            model.generate(**arguments)
    with pytest.raises(InputError, match="labels are not supported; train with archbench"):
        model(prompt, labels=prompt)
