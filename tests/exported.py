"""What an exported model computes, by ``transformers`` alone: as a program, nothing of archbench is imported."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
import transformers


def computed(folder: str, auto: str, texts: list[str], target: list[int], usage: str) -> dict[str, Any]:
    """Token ids and logits of ``[source, target]``, what is written greedily, and what the card's code prints."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, report = getattr(transformers, auto).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    outputs: dict[str, Any] = {"class": type(model).__name__, "ids": [], "logits": [], "written": [], "answers": []}
    length = int(re.findall(r"max_length=(\d+)", usage)[0])
    for text in texts:
        encoded = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        outputs["ids"].append(encoded["input_ids"][0].tolist())
        outputs["logits"].append(logits(model, encoded["input_ids"], torch.tensor([target])))
        if model.can_generate():
            outputs["written"].append(written(model, encoded))
        outputs["answers"].append(printed(asking(usage, text)))
    return {**outputs, "archbench": "architectures" in sys.modules}


@torch.no_grad()
def logits(model: Any, source: torch.Tensor, target: torch.Tensor) -> list[list[float]]:
    """Logits (t, v) at the places of the target, which a decoder reads after the source."""
    if model.config.is_encoder_decoder:
        values = model(input_ids=source, decoder_input_ids=target).logits[0]
    else:
        whole = torch.cat([source, target], 1)
        values = model(whole, attention_mask=torch.ones_like(whole)).logits[0, source.shape[1] :]
    return values.tolist()  # type: ignore[no-any-return]


def written(model: Any, encoded: Any) -> list[int]:
    """What ``generate`` writes greedily after what it was given."""
    settings = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    whole = model.generate(**encoded, **settings)[0].tolist()
    return whole[1 if model.config.is_encoder_decoder else encoded["input_ids"].shape[1] :]


def asking(usage: str, text: str) -> str:
    """The card's code with another text."""
    return re.sub("(?m)^text = .*$", lambda match: f"text = {text!r}", usage)


def printed(code: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    return output.getvalue().removesuffix("\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(computed(**json.loads(Path(sys.argv[1]).read_text()))))
