"""How soon a model answers nine questions out of ten: asked during training, of tasks with right and wrong answers."""

from typing import Any

import torch

from archbench.runs.plans.plan import Plan
from archbench.runs.training.batches import collate_sources
from archbench.runs.training.step import Trainer
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.base.values import Prepared
from archbench.tasks.kinds import registry, task

COLUMN = "tokens_to_90"  # of a run: read when it first answered so many right; infinite if it never did
METRIC = "exact_match"
QUESTIONS, SHARE = 100, 0.9  # of the validation split, the same ones for every model; the share to answer right
ROWS = 20  # answered together


def has_goal(plan: Plan, prepared: Prepared) -> bool:
    """True if a run is asked: it trains, is no trial, and its task's kind is judged by exact match."""
    return plan.is_trained and not plan.trial and registry.of(prepared.config).primary[0] == METRIC


@torch.no_grad()
def is_reached(trainer: Trainer, prepared: Prepared) -> bool:
    """True if at least `SHARE` of the questions are answered right, by the task's decoding.

    A model that has given too many wrong answers is not asked further: one that has not learned costs `ROWS` answers.
    """
    examples, decoding = prepared.validation, task.decoding(prepared)
    asked = seeded_order(len(examples), 0)[:QUESTIONS]
    most, wrong = round(len(asked) * (1 - SHARE)), 0
    allowed = torch.tensor(prepared.allowed_tokens, device=trainer.device)
    with trainer.around.evaluated() as evaluated:
        model: Any = evaluated
        for rows in (asked[start : start + ROWS] for start in range(0, len(asked), ROWS)):
            source, mask = collate_sources(examples, rows)
            source, mask = source.to(trainer.device), None if mask is None else mask.to(trainer.device)
            answers = model.objective.generate(model, source, mask, allowed, decoding, torch.Generator().manual_seed(0))
            texts = (prepared.tokenizer.decode(ids.cpu().numpy()) for ids in answers)
            wrong += sum(text != examples.target_text(int(row)) for text, row in zip(texts, rows, strict=True))
            if wrong > most:
                break
    reached: bool = trainer.around.ranks.gathered(wrong <= most)[0]
    return reached
