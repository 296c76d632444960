"""The contract suite: what must hold for every variant, as small checks on a tiny random model."""

from archbench.architectures.contract.counts.compute import planned
from archbench.architectures.contract.sizes import narrow
from archbench.architectures.contract.subject import LIMITS, SIZE, TOLERANCE, Subject, sequences, subject
from archbench.architectures.contract.suite import Result, check, explanation, property_of, results
from archbench.architectures.contract.table import CHECKS, Check, layers_of, of_form, texts_of
from archbench.architectures.contract.trials import QUICK, USUAL, Trials

__all__ = [
    "CHECKS",
    "LIMITS",
    "QUICK",
    "SIZE",
    "TOLERANCE",
    "USUAL",
    "Check",
    "Result",
    "Subject",
    "Trials",
    "check",
    "explanation",
    "layers_of",
    "narrow",
    "of_form",
    "planned",
    "property_of",
    "results",
    "sequences",
    "subject",
    "texts_of",
]
