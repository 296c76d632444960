"""Models of archbench behind the interface of ``transformers``, for those that are none of its own shapes.

Importing ``archbench.architectures.interop`` registers these classes: ``AutoModelForCausalLM`` (decoder),
``AutoModelForMaskedLM`` (encoder) and ``AutoModelForSeq2SeqLM`` (encoder-decoder) then load what ``archbench export``
wrote. No code in the folder is run: a variant that comes with archbench or an installed package is found by its name,
another one has to be given as ``from_pretrained(folder, variant_file="path/to/variant.py")``; the SHA-256 of its text
is checked.

``generate`` is that of the model's objective, in every family, and so writes exactly what archbench writes; what it
does not know of the settings of ``transformers`` is an error.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput, MaskedLMOutput, Seq2SeqLMOutput

from archbench.architectures.components.mask import PREFIX
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.interop import prompts
from archbench.architectures.interop.configuration import ArchbenchConfig, variant
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS

PLACE = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")  # where files come from


def wrapped(model: Any, config: ArchbenchConfig, file: Path | None = None) -> Any:
    """A ``transformers`` model of that configuration with the weights of ``model``, in evaluation mode."""
    theirs = CLASSES[config.family](config, file)
    theirs.model.load_state_dict(model.state_dict())
    return theirs.eval()


class ArchbenchModel(PreTrainedModel):  # type: ignore[misc]
    """Abstract base of the three classes, each of which has its own ``forward`` and ``generate``."""

    config_class = ArchbenchConfig
    base_model_prefix = "model"
    family: ClassVar[str]

    def __init__(self, config: ArchbenchConfig, variant_file: str | Path | None = None) -> None:
        super().__init__(config)
        if config.family != self.family:
            right = CLASSES[config.family].__name__ if config.family in CLASSES else "none of these classes"
            raise InputError(f"this is a model of family {config.family!r} and so {right}, not {type(self).__name__}")
        self.model = variant(config, variant_file).build(Size(**config.size), Limits(**config.limits))
        unsaved = [name for name, _ in self.named_buffers() if name not in self.state_dict()]
        if unsaved:
            raise InputError(f"{unsaved[0]}: a buffer that is not saved would be lost; make it persistent")
        self._tied_weights_keys = _shared(self)
        self.post_init()

    @classmethod
    def can_generate(cls) -> bool:
        return True

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *inputs: Any, output_loading_info: bool = False, **settings: Any
    ) -> Any:
        """The saved model; raises ``InputError`` where a tensor is missing, left over or of another shape.

        ``transformers`` would only report these and leave memory as it was. ``variant_file``: see above.
        """
        arguments = {**settings, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = super().from_pretrained(folder, *inputs, **arguments)
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if report[what]:
                names = ", ".join(sorted(str(name) for name in report[what]))
                raise InputError(f"{folder}: these weights do not fit the model: {what.replace('_', ' ')}: {names}")
        location = {key: settings[key] for key in PLACE if key in settings}
        model.generation_config = GenerationConfig.from_pretrained(folder, **location)
        return (model, report) if output_loading_info else model

    def _init_weights(self, module: Any) -> None:
        """The variant has drawn its initial weights."""

    def _write(
        self, sources: tuple[Tensor, Tensor | None], start: Tensor | None, prompt: Tensor, settings: dict[str, Any]
    ) -> Tensor:
        """Token ids (b, n) of ``prompt`` (b, p) and what the objective writes after it, from sources and their mask."""
        config, generator = settings.pop("generation_config", None), settings.pop("generator", None)
        decoding = prompts.decoding(config or self.generation_config, settings, prompt.shape[1], self._room(start))
        allowed_tokens = prompts.allowed_tokens(config or self.generation_config, settings, self.config.vocab_size)
        written = self.model.objective.generate(
            self.model, *sources, allowed_tokens.to(prompt.device), decoding, generator, start
        )
        return prompts.continued(prompt, written, decoding.max_tokens)

    def _room(self, start: Tensor | None) -> int:
        """Tokens that there is room for after ``start`` (b, m): the model has learned to write no more."""
        return int(self.config.limits["target_length"]) - (0 if start is None else start.shape[1])


class ArchbenchForCausalLM(ArchbenchModel):
    """A decoder, also one that reads its prefix in both directions. Its prompt is ``[source, BOS, start]``."""

    family = "decoder"

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: None = None) -> CausalLMOutput:
        """Logits (b, t, v) of what follows each token of ``[source, BOS, target]``, padded on either side."""
        _without(labels)
        if self.model.mask is not PREFIX:
            return CausalLMOutput(logits=self.model(None, input_ids, None, attention_mask))
        parts = prompts.split(input_ids, attention_mask)
        states = self.model.hidden(*parts.joined())
        return CausalLMOutput(logits=self.model.logits(parts.apart(states)))

    @torch.no_grad()
    def generate(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **settings: Any
    ) -> Tensor:
        """Token ids (b, n): the prompts (b, t), what was written after them, END where it ended, and padding."""
        tokens = prompts.prompt_tokens(input_ids, settings)
        parts = prompts.split(tokens, attention_mask)
        return self._write(parts.sources(), parts.start(), tokens, settings)


class ArchbenchForMaskedLM(ArchbenchModel):
    """An encoder. It reads ``[source, BOS, canvas]``; to ``generate``, the prompt is ``[source, BOS, start]``."""

    family = "encoder"

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: None = None) -> MaskedLMOutput:
        """Logits (b, t, v) of each position of ``[source, BOS, canvas]``; cells to fill in are [MASK], and attended."""
        _without(labels)
        return MaskedLMOutput(logits=self.model(None, input_ids, None, attention_mask))

    @torch.no_grad()
    def generate(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **settings: Any
    ) -> Tensor:
        """Token ids (b, n): the prompts (b, t), what was written after them, END where it ended, and padding."""
        tokens = prompts.prompt_tokens(input_ids, settings)
        parts = prompts.split(tokens, attention_mask)
        return self._write(parts.sources(), parts.start(), tokens, settings)


class ArchbenchForSeq2SeqLM(ArchbenchModel):
    """An encoder-decoder: the encoder reads the bare source, an empty one as a BOS; the decoder begins with BOS."""

    family = "encoder-decoder"

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        labels: None = None,
    ) -> Seq2SeqLMOutput:
        """Logits (b, t, v) of what follows each token of ``decoder_input_ids`` (b, t), BOS alone where not given."""
        _without(labels)
        written = torch.full_like(input_ids[:, :1], BOS) if decoder_input_ids is None else decoder_input_ids
        return Seq2SeqLMOutput(logits=self.model(input_ids, written, attention_mask, decoder_attention_mask))

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        """Token ids (b, n): BOS or ``decoder_input_ids`` (b, t), what was written, END where it ended, and padding."""
        source = prompts.prompt_tokens(input_ids, settings)
        begun = source.new_full((len(source), 1), BOS) if decoder_input_ids is None else decoder_input_ids
        mask = None if attention_mask is None else attention_mask.bool()
        return self._write((source, mask), begun[:, 1:] if begun.shape[1] > 1 else None, begun, settings)


CLASSES: dict[str, Any] = {
    model_class.family: model_class
    for model_class in (ArchbenchForCausalLM, ArchbenchForMaskedLM, ArchbenchForSeq2SeqLM)
}


def register() -> None:
    """Make the Auto classes of ``transformers`` know ours."""
    AutoConfig.register(ArchbenchConfig.model_type, ArchbenchConfig, exist_ok=True)
    for auto, ours in (
        (AutoModelForCausalLM, ArchbenchForCausalLM),
        (AutoModelForMaskedLM, ArchbenchForMaskedLM),
        (AutoModelForSeq2SeqLM, ArchbenchForSeq2SeqLM),
    ):
        auto.register(ArchbenchConfig, ours, exist_ok=True)


def _without(labels: object) -> None:
    """Raises an error that names the reason if ``labels`` are given; this model computes no loss."""
    if labels is not None:
        raise InputError("forward: labels are not supported; train with archbench, or compute the loss from the logits")


def _shared(model: Any) -> dict[str, str]:
    """Every other name of a parameter that has several, with its first."""
    first: dict[int, str] = {}
    names = [(name, first.setdefault(id(p), name)) for name, p in model.named_parameters(remove_duplicate=False)]
    return {name: kept for name, kept in names if name != kept}
