"""The code on a model card: it loads the exported model and answers one text, and runs without changes."""

from collections.abc import Sequence

from archbench.tasks.base.example import LABEL
from archbench.tasks.base.kind import Form

AUTO = {
    "decoder": "AutoModelForCausalLM",
    "encoder": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
}
ADAPTER = "import archbench.architectures.interop  # noqa: F401 (registers archbench's models with transformers)\n\n"
PROMPTED = """\
prompt = tokenizer(text, truncation=True, max_length={length}, return_tensors="pt")
written = model.generate(**prompt)[0, prompt["input_ids"].shape[1] :]
"""
SOURCED = """\
source = tokenizer(text, truncation=True, max_length={length}, return_tensors="pt")
written = model.generate(**source)[0]
"""
BEGUN = """\
start = tokenizer(text, truncation=True, max_length={length}, return_tensors="pt")["input_ids"]
nothing = torch.tensor([{empty}])  # an empty source
written = model.generate(nothing, decoder_input_ids=start)[0, start.shape[1] :]
"""
FILLED = """\
settings = GenerationConfig.from_pretrained(folder)
source = tokenizer(text, truncation=True, max_length={length})["input_ids"]
written = [tokenizer.mask_token_id] * {cells}
for cell in range(len(written)):
    with torch.no_grad():
        logits = model(torch.tensor([source + written])).logits[0, len(source) + cell]
    logits[settings.suppress_tokens] = float("-inf")
{choice}
    if written[cell] == tokenizer.eos_token_id:
        break
"""
GREEDY = "    written[cell] = int(logits.argmax())"
SAMPLED = """\
    logits = TopPLogitsWarper(settings.top_p)(None, logits[None])[0]
    written[cell] = int(torch.multinomial(logits.softmax(-1), 1))"""


def python(
    family: str,
    form: Form,
    stock: bool,
    own_file: bool,
    example: str,
    sourced: bool,
    length: int,
    target_length: int,
    frame: Sequence[int] | None = None,
) -> str:
    """The code; ``example`` is the text to answer; ``sourced``: texts are sources to answer, not beginnings.

    ``length``: the most tokens of a text, with the special ones around it; the rest is cut off as in training.
    ``frame``: of a finetuned checkpoint, the ids that an empty source consists of. Its tokenizer spells a label as a
    special token.
    """
    empty, around = ("[tokenizer.bos_token_id]", 1) if frame is None else (str(list(frame)), len(frame))
    filled = stock and family == "encoder"
    begun = family == "encoder-decoder" and not sourced
    names = [AUTO[family], "AutoTokenizer", *(["GenerationConfig"] if filled else [])]
    names += ["TopPLogitsWarper"] if filled and form == "running text" else []
    code = "import torch\n" if filled or begun else ""
    code += f"from transformers import {', '.join(sorted(names))}\n\n"
    code += "" if stock else ADAPTER
    code += 'folder = "."\ntokenizer = AutoTokenizer.from_pretrained(folder)\n'
    file = ', variant_file="variant.py"' if own_file else ""
    code += f"model = {AUTO[family]}.from_pretrained(folder{file})\n\ntext = {example!r}\n"
    if filled:
        cells = f"{target_length}" if sourced else f"({target_length + around} - len(source))"
        code += FILLED.format(cells=cells, length=length, choice=SAMPLED if form == "running text" else GREEDY)
    else:
        asked = BEGUN if begun else SOURCED if family == "encoder-decoder" else PROMPTED
        code += asked.format(empty=empty, length=length)
    if frame is not None and form == "labels":
        return code + f'print(tokenizer.convert_ids_to_tokens(int(written[-1])).removeprefix("{LABEL}"))\n'
    return code + "print(tokenizer.decode(written, skip_special_tokens=True))\n"
