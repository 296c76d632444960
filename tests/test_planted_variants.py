"""Variants in which testers planted bugs are refused; docs/contract.md says which of them passed at first.

The testers knew what users read, not the code of the checks. ``planted/SHA256SUMS`` was committed before any check had
seen a file; the files stay as they were.
"""

import hashlib
from pathlib import Path

import pytest

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.trials import USUAL

FOLDER = Path(__file__).parent / "planted"
CHECKS = {  # the check that names the bug
    "a01": "rows_are_apart",
    "a02": "every_parameter_gets_a_gradient",
    "a03": "no_look_ahead",
    "a04": "the_training_loss_is_the_likelihood",
    "a05": "no_look_ahead",
    "a06": "no_look_ahead",
    "a07": "long_texts_are_read_alike",
    "a08": "gradients_are_those_of_the_loss",
    "a09": "caches_last",
    "a10": "other_sizes_read_alike",
    "a11": "long_texts_are_read_alike",
    "a12": "rows_are_apart",
    "a13": "visible_flops_are_counted",
    "a14": "gradients_are_those_of_the_loss",
    "a15": "forward_is_prefill_and_decode",
    "b01": "every_parameter_gets_a_gradient",
    "b02": "forward_is_prefill_and_decode",
    "b03": "other_sizes_read_alike",
    "b04": "forward_is_prefill_and_decode",
    "b05": "bfloat16_is_near",
    "b06": "building_is_repeatable",
    "b07": "estimates_average_to_the_likelihood",
    "b08": "estimates_average_to_the_likelihood",
    "b09": "training_flops_are_counted",
    "b10": "long_texts_are_read_alike",
    "b11": "parameters_are_counted",
    "b12": "gradients_are_those_of_the_loss",
    "b13": "forward_is_prefill_and_decode",
    "b14": "the_training_loss_is_the_likelihood",
    "b15": "initial_weights_follow_the_seed",
    "c01": "gradients_are_those_of_the_loss",
    "c02": "no_look_ahead",
    "c03": "no_look_ahead",
    "c04": "bfloat16_is_near",
    "c05": "no_look_ahead",
    "c06": "forward_is_prefill_and_decode",
    "c07": "weights_survive_saving",
    "c08": "sampling_follows_scoring",
    "c09": "estimates_average_to_the_likelihood",
    "c10": "rounds_fill_confident_cells_first",
    "c11": "likelihood_sums_to_one",
    "c12": "flops_are_counted",
    "c13": "the_training_loss_is_the_likelihood",
    "c14": "flops_are_counted",
    "c15": "rows_are_apart",
    "d01": "every_parameter_gets_a_gradient",
    "d02": "likelihood_sums_to_one",
    "d03": "estimates_average_to_the_likelihood",
    "d04": "flops_are_counted",
    "d05": "the_training_loss_is_the_likelihood",
    "d06": "padding_is_invisible",
    "d07": "the_training_loss_is_the_likelihood",
    "d08": "padding_is_invisible",
    "d09": "flops_are_counted",
    "d10": "large_ids_are_read_alike",
    "d11": "training_reads_as_scoring_does",
    "d12": "long_answers_are_greedy",
    "d13": "sampling_follows_scoring",
    "d14": "size_is_used",
    "d15": "rows_are_apart",
}


def test_the_files_are_those_that_were_hashed() -> None:
    hashed = dict(line.split()[::-1] for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    assert hashed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.py")}


@pytest.mark.parametrize("name", CHECKS)
def test_a_planted_bug_is_refused(name: str) -> None:
    variant = catalogue.find(str(FOLDER / f"{name}.py"), FOLDER)
    check = next(check for check in contract.CHECKS if check.__name__ == CHECKS[name])
    (result,) = contract.results(variant.build, variant.path, [check], USUAL)
    assert result.problem
