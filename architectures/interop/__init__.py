"""Models of ``transformers`` as ours and back; importing this registers archbench's own with its Auto classes."""

from archbench.architectures.conversion.convert import from_transformers as from_transformers
from archbench.architectures.conversion.convert import to_transformers as to_transformers
from archbench.architectures.interop.adapter import ArchbenchForCausalLM as ArchbenchForCausalLM
from archbench.architectures.interop.adapter import ArchbenchForMaskedLM as ArchbenchForMaskedLM
from archbench.architectures.interop.adapter import ArchbenchForSeq2SeqLM as ArchbenchForSeq2SeqLM
from archbench.architectures.interop.adapter import register
from archbench.architectures.interop.configuration import ArchbenchConfig as ArchbenchConfig

register()
