"""The configuration of a model of archbench for ``transformers``, and the variant that it names.

Code of others is run only where its file was given, and after its text was checked.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from archbench.architectures.catalogue import catalogue, digests, sources
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import STOCK, Variant
from archbench.architectures.formats.shape import SPECIAL_TOKENS
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS


class ArchbenchConfig(PretrainedConfig):  # type: ignore[misc]
    """Everything that rebuilds a model: variant name (empty: a file's) and hash, family, ``Size`` and ``Limits``."""

    model_type = "archbench"

    def __init__(
        self,
        variant: str = "",
        variant_sha256: str = "",
        family: str = "",
        size: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        self.variant, self.variant_sha256, self.family = variant, variant_sha256, family
        self.size, self.limits = dict(size or {}), dict(limits or {})
        super().__init__(**{"tie_word_embeddings": True, **others})  # which tensors are tied, the model itself tells


def described(variant: str, digest: str, family: str, size: Size, limits: Limits) -> ArchbenchConfig:
    """The configuration of a model; ``digest`` is that of its variant's code."""
    return ArchbenchConfig(
        variant,
        digest,
        family,
        asdict(size),
        asdict(limits),
        vocab_size=limits.vocabulary,
        is_encoder_decoder=family == "encoder-decoder",
        decoder_start_token_id=BOS,
        **SPECIAL_TOKENS,
    )


def variant(config: ArchbenchConfig, file: str | Path | None) -> Variant:
    """The variant of a configuration, its text as it was; a file is read before it is run."""
    if file is not None:
        path = Path(file)
        if path.suffix != ".py" or not path.is_file():
            raise InputError(f"variant_file: no file {path} that ends in .py")
        _same(config, digests.of_text(sources.text(path)), str(path))
        return catalogue.find(str(path))
    known = {*catalogue.names(), *catalogue.ablated()}.difference(STOCK)
    if config.variant not in known:
        raise InputError(
            f"the variant of this model ({config.variant or 'a file'}) does not come with this archbench, and loading "
            'runs no code of others; read it, then pass variant_file="path/to/variant.py"'
        )
    installed = catalogue.find(config.variant)
    _same(config, digests.of(installed), config.variant)
    return installed


def _same(config: ArchbenchConfig, digest: str, where: str) -> None:
    if digest != config.variant_sha256:
        raise InputError(
            f"{where}: not the variant that this model was trained as (SHA-256 {digest[:12]}..., "
            f"expected {config.variant_sha256[:12]}...); use the archbench or the file that it came from"
        )
