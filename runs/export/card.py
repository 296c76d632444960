"""The model card of an exported run: its data, training, scores and limits, and how to load it.

Every number comes from the run's records: its plan, record and scores, and the files about its data set.
"""

from archbench.runs.experiment.optimizers import OPTIMIZERS
from archbench.runs.experiment.spec import BETWEEN_MEASURES
from archbench.runs.export import usage as code
from archbench.runs.export.facts import Facts
from archbench.runs.export.finetuned import FinetunedCheckpoint
from archbench.runs.export.markdown import escaped, table
from archbench.runs.plans.plan import Plan
from archbench.runs.store.store import Row
from archbench.tasks.base.dataset import SPLITS
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.intervals import wilson

FAMILIES = {
    "decoder": "a decoder-only transformer",
    "encoder": "an encoder-only transformer",
    "encoder-decoder": "an encoder-decoder transformer",
}
PIPELINES = {"decoder": "text-generation", "encoder": "fill-mask", "encoder-decoder": "text2text-generation"}
SHARES = ("accuracy", "exact_match")  # metrics that are means of zeros and ones over examples
NO_INTERVAL = "none"
EARLY = 5  # tokens per parameter below which training has hardly begun


def text(facts: Facts) -> str:
    """The card in Markdown, after metadata in YAML."""
    parts = [_metadata(facts), _head(facts), _use(facts), _data(facts), _budget(facts), _scores(facts), _limits(facts)]
    return "\n\n".join(parts) + "\n"


def usage(facts: Facts) -> str:
    """Python code that loads the model from the current folder and answers an example."""
    run = facts.run
    return code.python(
        run.model.family,
        run.form,
        facts.stock,
        facts.own_file,
        facts.example,
        bool(run.plan.limits.source_length),
        facts.length,
        run.plan.limits.target_length,
        FinetunedCheckpoint(run).empty_source if _is_checkpoint(facts) else None,
    )


def _is_checkpoint(facts: Facts) -> bool:
    """True if the run finetuned a checkpoint of ``transformers``."""
    return facts.run.variant.checkpoint is not None


def _metadata(facts: Facts) -> str:
    run = facts.run
    tags = ["archbench", run.model.family, run.kind]
    lines = [
        "library_name: transformers",
        f"pipeline_tag: {PIPELINES[run.model.family]}",
        "tags:",
        *(f"- {t}" for t in tags),
    ]
    return "\n".join(["---", *lines, "---"])


def _head(facts: Facts) -> str:
    plan = facts.run.plan
    begun, compared = "trained from random weights", "in a comparison of architectures under the same budget"
    if _is_checkpoint(facts):
        begun = f"that was trained elsewhere (the checkpoint {escaped(plan.start_name)}) and finetuned"
        compared = "on the budget of a comparison of architectures"
    elif plan.start:
        begun = f"pretrained on {escaped(plan.start_name)} and finetuned"
    return (
        f"# {escaped(f'{plan.architecture} on {plan.task.name}')}\n\n"
        f"{FAMILIES[facts.run.model.family].capitalize()} {begun} by archbench to "
        f"{facts.run.does}, {compared}. "
        f"It is run `{facts.record['run']}`, "
        f"saved as `{facts.model}`."
    )


def _use(facts: Facts) -> str:
    if facts.stock:
        needed = "`transformers` alone loads it; no code in this folder is run."
    elif facts.own_file:
        needed = (
            "It needs archbench: `archbench.architectures.interop` registers archbench's models with `transformers`. "
            "Its architecture is the file `variant.py` in this folder. The code below runs this file: read it first. "
            "Any modules that it imports must be installed as well."
        )
    else:
        needed = (
            "It needs archbench: `archbench.architectures.interop` registers archbench's models with `transformers`. "
            f"The architecture is archbench's {escaped(facts.run.plan.variant)}. No code in this folder is run."
        )
    return f"## How to load\n\n{needed} Run in this folder:\n\n```python\n{usage(facts)}```\n\n{_reading(facts)}"


def _reading(facts: Facts) -> str:
    run, limits = facts.run, facts.run.plan.limits
    if not limits.source_length:
        begins = "The model continues the text; `<bos>` precedes it."
    elif run.model.family == "encoder-decoder":
        begins = "The encoder reads the text without special tokens; the decoder begins with `<bos>`."
    elif run.model.family == "encoder":
        begins = "The model reads the text, `<bos>` and `<mask>` tokens, and fills in the masks from left to right."
    else:
        begins = "The model reads the text and `<bos>`, and writes its answer after it."
    vocabulary = run.tokenizer.vocabulary
    if _is_checkpoint(facts):
        vocabulary = FinetunedCheckpoint(run).vocabulary
        begins = (
            "The tokenizer is that of the checkpoint, with new tokens for labels and for special tokens that were "
            "trained apart from its own. Around a text it puts the same tokens as in finetuning."
        )
    label = " Its answer is one token, the label." if run.form == "labels" else ""
    return (
        f"{begins}{label} The tokenizer ({run.tokenizer.kind}, {vocabulary:,} tokens) never encodes text "
        "as special tokens or labels. `generation_config.json` restricts generation to tokens of the task; greedy "
        "answers (do_sample=False) equal those of archbench, token by token."
    )


def _data(facts: Facts) -> str:
    data = facts.data
    if not data:
        return "## Task and data\n\nThe data set is recorded in the folder of the comparison, not with this run."
    counts = ", ".join(f"{data[f'{split}_examples']:,} {split}" for split in SPLITS)
    rows = [
        ("task", f"{data['kind']}: {facts.run.does}"),
        ("data set", data["dataset"]),
        ("origin", data["origin"]),
        ("licence of the data", data["licence"]),
        ("examples", counts),
        ("tokens in the training split", f"{data['train_tokens']:,}"),
    ]
    labels = facts.run.tokenizer.labels
    if labels:
        rows.append(("labels", ", ".join(labels)))
    return "## Task and data\n\n" + table(("", ""), rows)


def _scaled(facts: Facts) -> str:
    """How a learning rate of other trials was scaled; empty where it is used as it is."""
    plan, text = facts.run.plan, ""
    training = plan.training
    if training.proxy_width is not None:
        hidden = OPTIMIZERS[training.optimizer].hidden_factor(plan.size.dim / training.proxy_width)
        text += (
            f" at width {training.proxy_width}; at this width, {plan.size.dim}, times {hidden:.3g} for hidden matrices"
        )
    if training.proxy_share is not None:
        text += f"; chosen on {training.proxy_share:g} times the tokens and scaled by {training.token_factor:.3g}"
    return text


def _budget(facts: Facts) -> str:
    plan, record = facts.run.plan, facts.record
    rows = [
        ("parameters", f"{record['parameters']:,}, plus {record['embedding_parameters']:,} in embeddings and output"),
        ("training tokens", f"{record['train_tokens']:,} ({record['epochs']:.2f} epochs, {record['steps']:,} steps)"),
        ("tokens per parameter", f"{record['tokens_per_parameter']:.1f}"),
        ("training FLOPs", f"{record['train_flops']:.3g} (model FLOPs, without the optimizer)"),
        ("seed", f"{plan.seed}"),
        ("held equal in the comparison", plan.match),
        ("supervision", plan.supervision),
        ("optimizer", f"{record['optimizer']}, learning rate {record['learning_rate']:g}{_scaled(facts)}"),
        ("precision in training", plan.precision),
        ("checkpoint", f"{_checkpoint(plan)}, step {record['best_step']:,}"),
    ]
    if plan.start:
        cost = f"{plan.pretraining_tokens:,.0f} tokens, {plan.pretraining_flops:.3g} FLOPs, not counted above"
        rows.append(("pretraining", f"{plan.start_name}: {cost}"))
    if _is_checkpoint(facts):
        rows = [row for row in rows if row[0] not in ("tokens per parameter", "held equal in the comparison")]
        rows.append(("earlier training", f"{plan.start_name}: elsewhere, not counted above"))
    if facts.version:
        rows.append(("trained by", f"archbench {facts.version}"))
    return "## Budget\n\n" + table(("", ""), rows)


def _checkpoint(plan: Plan) -> str:
    """Which weights of the run these are."""
    return "the last one" if plan.keeps_last else "the best on the validation split"


def _scores(facts: Facts) -> str:
    rows = [(row["metric"], f"{row['value']:.4g}", _interval(row), f"{row['n']:,}") for row in facts.scores]
    shown = table(("metric", "value", "95% interval", "n"), rows)
    note = "Scores are of this single run on the test split; intervals are over test examples, not over seeds."
    if any(row["lower"] == row["upper"] for row in facts.scores):
        note += " Where all examples score alike, a proportion has a Wilson interval and other scores have none."
    return f"## Scores\n\n{shown}\n\n{note} {_reference_rows(facts)}".rstrip()


def _interval(row: Row) -> str:
    """The bootstrap interval of a score, or another one where all examples score alike, which leaves it no width."""
    lower, upper = row["lower"], row["upper"]
    if lower == upper:
        if row["metric"] not in SHARES or row["value"] not in (0, 1):
            return NO_INTERVAL
        lower, upper = wilson(row["value"], row["n"])
    return f"{lower:.4g} to {upper:.4g}"


def _reference_rows(facts: Facts) -> str:
    return " ".join(filter(None, (_baselines(facts, metric) for metric in _primary(facts))))


def _primary(facts: Facts) -> list[str]:
    """The primary measures of the data set."""
    return str(facts.data.get("primary", "")).split(BETWEEN_MEASURES)


def _baselines(facts: Facts, metric: str) -> str:
    rows = [f"{row['name']} {row['value']:.4g}" for row in facts.baselines if row["metric"] == metric]
    return escaped(f"Baselines on the same examples, {metric}: {', '.join(rows)}.") if rows else ""


def _limits(facts: Facts) -> str:
    plan, data, record = facts.run.plan, facts.data, facts.record
    limits = plan.limits
    reads = f"reads at most {limits.source_length:,} tokens and " if limits.source_length else ""
    writes = "one label" if facts.run.form == "labels" else f"at most {limits.target_length:,} tokens"
    points = [
        f"It was trained for one task, {facts.run.kind} as in {plan.task.name}. It follows no instructions.",
        f"It {reads}writes {writes}.",
        f"It has {record['parameters'] + record['embedding_parameters']:,} parameters and was trained to compare "
        "architectures, not for use.",
        "Its output has not been examined for factual errors, bias or harm.",
    ]
    if data:
        trained = "finetuned" if plan.start or _is_checkpoint(facts) else "trained"
        count = plan.examples or data["train_examples"]
        points.insert(1, f"It was {trained} only on {count:,} training examples ({data['origin']}).")
    if facts.run.tokenizer.kind in ("char", "word"):
        points.append(f"A {facts.run.tokenizer.kind} that is not in the training split is read as <unk>.")
    if _is_checkpoint(facts):
        points.append(f"The licence and the limits of the checkpoint {plan.start_name} apply too.")
    elif record["tokens_per_parameter"] < EARLY:
        points.append(
            f"Training was short: {record['tokens_per_parameter']:.1f} tokens per parameter. Longer training may "
            "change which architecture does better."
        )
    for metric in _primary(facts):
        if beaten := _beaten(facts, metric):
            points.append(f"Baselines that are as good or better on {metric}: {', '.join(beaten)}.")
    return "## Limits\n\n" + "\n".join(f"- {escaped(point)}" for point in points)


def _beaten(facts: Facts, metric: str) -> list[str]:
    """The baselines that are as good as this run or better on a metric."""
    mine = next((row["value"] for row in facts.scores if row["metric"] == metric), None)
    if mine is None:
        return []
    known = BUILTIN.get(metric)
    sign = -1 if known is not None and known.better == "lower" else 1
    rows = [row for row in facts.baselines if row["metric"] == metric and sign * row["value"] >= sign * mine]
    return [f"{row['name']} ({row['value']:.4g})" for row in rows]
