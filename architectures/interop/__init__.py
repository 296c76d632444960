"""Models of ``transformers`` as ours and back; importing this registers archbench's own with its Auto classes."""

from architectures.interop.adapter import ArchbenchForCausalLM as ArchbenchForCausalLM
from architectures.interop.adapter import ArchbenchForMaskedLM as ArchbenchForMaskedLM
from architectures.interop.adapter import ArchbenchForSeq2SeqLM as ArchbenchForSeq2SeqLM
from architectures.interop.adapter import register
from architectures.interop.configuration import ArchbenchConfig as ArchbenchConfig
from architectures.interop.convert import from_transformers as from_transformers
from architectures.interop.convert import to_transformers as to_transformers

register()
