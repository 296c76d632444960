"""Files in which testers planted bugs, by the check that refuses each; docs/contract.md says which passed at first.

The testers knew what users read, not the code of the checks. ``planted/SHA256SUMS`` was committed before any check had
seen a file; the files stay as they were, and find what has moved since under its old name.
"""

import sys

from archbench.architectures.components import positions
from archbench.architectures.contract.trials import USUAL
from faults.plant import Fault

sys.modules["archbench.architectures.kernels.rotate"] = positions  # which has `rotated`


def of_file(name: str) -> Fault:
    """The fault is in the file: nothing is planted, and each finding has words of its own."""
    return Fault(name, "", lambda monkeypatch, build: build, (f"planted/{name}.py",), USUAL)


FILES = {
    "rows_are_apart": "a01 a12 c15 d15",
    "every_parameter_gets_a_gradient": "a02 b01 d01",
    "no_look_ahead": "a03 a05 a06 c02 c03 c05",
    "the_training_loss_is_the_likelihood": "a04 b14 c13 d05 d07",
    "long_texts_are_read_alike": "a07 a11 b10",
    "gradients_are_those_of_the_loss": "a08 a14 b12 c01",
    "caches_last": "a09",
    "other_sizes_read_alike": "a10 b03",
    "visible_flops_are_counted": "a13",
    "forward_is_prefill_and_decode": "a15 b02 b04 b13 c06",
    "bfloat16_is_near": "b05 c04",
    "building_is_repeatable": "b06",
    "estimates_average_to_the_likelihood": "b07 b08 c09 d03",
    "training_flops_are_counted": "b09",
    "parameters_are_counted": "b11",
    "initial_weights_follow_the_seed": "b15",
    "weights_survive_saving": "c07",
    "sampling_follows_scoring": "c08 d13",
    "rounds_fill_confident_cells_first": "c10",
    "likelihood_sums_to_one": "c11 d02",
    "flops_are_counted": "c12 c14 d04 d09",
    "padding_is_invisible": "d06 d08",
    "large_ids_are_read_alike": "d10",
    "training_reads_as_scoring_does": "d11",
    "long_answers_are_greedy": "d12",
    "size_is_used": "d14",
}
FAULTS = {check: tuple(map(of_file, names.split())) for check, names in FILES.items()}
