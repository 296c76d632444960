"""The sentences of the page that looks inside a run."""

from collections.abc import Sequence
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.inspection import inside_panels
from archbench.runs.base.store import Row

HEADS: Final = 60  # test examples that heads and mean losses are measured on


def lede(inspection: Row) -> str:
    """What was looked at, in two sentences."""
    tokens, parameters = inspection["train_tokens"], formatting.count(inspection["parameters"])
    trained = f", trained on {formatting.count(tokens)} tokens" if tokens else ", not trained here"
    examples = inspection["examples"]
    return (
        f"{inspection['architecture']} with {parameters} parameters on {inspection['dataset']} ({inspection['kind']})"
        f"{trained}. Measured on {examples} test examples that the run recorded (heads and losses on "
        f"{min(examples, HEADS)} of them), and on one text that is shown in full."
    )


def shown(text: Row, examples: int) -> str:
    """Which text is shown in full, and how often the model's guess is not the target's token."""
    begin = f"A {text['tokenizer']} tokenizer with {text['vocabulary']:,} tokens cut"
    wrong, tokens = text["wrong"], len(text["target_tokens"])
    cut = text.get("cut", 0)
    short = f" {cut:,} token{'s' if cut > 1 else ''} more did not fit into the model's lengths." if cut else ""
    guesses = f"{wrong or 'none'} of the {tokens} tokens of its target {'are' if wrong > 1 else 'is'} guessed wrong"
    if text["given"] and not text["right"]:
        return (
            f"{begin} the given text.{short} No right answer was given (--answer): the target is the model's own "
            "answer."
        )
    if text["given"]:
        return f"{begin} the given text: {guesses}, with the previous tokens given.{short}"
    if wrong:
        which = f"test example {text['example']}, the first with a wrong prediction"
        return f"{begin} {which}: {guesses}, with the previous tokens given."
    return f"{begin} the first test example: in none of the {examples} is a guess wrong, the tokens before given."


def token_of(text: Row) -> str:
    """What a token of the shown target is called."""
    return "right token" if text["right"] else "token it wrote"


def left_out(inspection: Row) -> str:
    """What a map leaves out, and what its numbers do."""
    if [stop - start for start, stop in inspection["drawn"]] == inspection["tokens"]:
        return ""
    rows, columns = (
        _part(drawn, whole) for drawn, whole in zip(inspection["drawn"], inspection["tokens"], strict=True)
    )
    drawn = f"Tokens drawn: {rows}" if rows == columns else f"Rows drawn: {rows}; columns: {columns}"
    kept = [len(inspection["queries"]), len(inspection["keys"])]
    numbers = "all" if kept == inspection["tokens"] else f"{kept[0]} rows and {kept[1]} columns"
    return f" {drawn}. The numbers hold {numbers}."


def _part(drawn: Sequence[int], whole: int) -> str:
    start, stop = drawn
    visible = stop - start
    if visible == whole:
        return f"all {whole}"
    if start == 0 or stop == whole:
        return f"the {'last' if start else 'first'} {visible} of {whole}"
    return f"the {visible} of {whole} around the border of source and target"


def beyond(rows: Sequence[Row], most: int) -> str:
    """What a figure of positions leaves out."""
    return f" Positions drawn: the first {most} of {len(rows)}. The numbers hold all." if len(rows) > most else ""


def similarity(test: Row | None) -> str:
    """Whether similar tokens have similar embeddings, as a sentence."""
    if test is None:
        return "Not tested: too few tokens of this vocabulary have a known similar use."
    inside = f"{test['lower']:.3f} to {test['upper']:.3f}".replace("-", "\N{MINUS SIGN}")
    close = test["p"] < 0.05
    verdict = "Tokens with similar use have more similar embeddings" if close else "The difference may be chance"
    return (
        f"{test['pairs']:,} pairs of tokens with similar use have a mean cosine of {formatting.value(test['within'])} "
        f"(mean over {test['groups']} groups). Permuted among tokens of similar frequency, 95% of means are {inside}. "
        f"{verdict} "
        f"(p {'< 0.001' if test['p'] < 0.001 else '= ' + format(test['p'], '.3f')}, one-sided)."
    )


def heads_in_words(inspection: Row) -> str:
    """How many heads have a role, and which one the score needs most."""
    heads = inspection["heads"]
    if not heads:
        return "No attention heads: every layer uses something else."
    roles = [head["role"] for head in heads if head["role"] != "mixed"]
    listed = formatting.listing(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
    most = max(heads, key=lambda head: head["loss"])
    spare = sum(head["loss"] - 2 * head["error"] <= 0 for head in heads if head is not most)
    return (
        f"{len(heads)} heads: {listed + '; ' if listed else ''}{len(heads) - len(roles)} mixed. The most "
        f"important is {inside_panels.head_name(most)}: without it the loss rises by {formatting.value(most['loss'])} "
        f"{inspection['loss_name']}." + f" Without {spare} of the others no rise is significant." * bool(spare)
    )


def probes_in_words(inspection: Row) -> list[str]:
    """For each question where along the layers it is best answered."""
    sentences = []
    for axis, question in dict.fromkeys((row["axis"], row["question"]) for row in inspection["probes"]):
        rows = [row for row in inspection["probes"] if (row["axis"], row["question"]) == (axis, question)]
        best = max(rows, key=lambda row: row["accuracy"])
        where = {"both": "", "source": " (source)", "target": " (target)"}[axis]
        distinguished = [row for row in rows if row["behind"] > 2 * row["behind_error"]]
        others = [_place(row) for row in rows if row is not best and row not in distinguished]
        also = f"; within two standard errors: {formatting.listing(others)}" if others else ""
        sentences.append(
            f"{question}{where}: best read from {_place(best)} ({formatting.value(best['accuracy'], 2)}; at the "
            f"embedding {formatting.value(rows[0]['accuracy'], 2)}, chance {formatting.value(best['chance'], 2)}){also}"
        )
    return sentences


def _place(row: Row) -> str:
    return str(row["layer"]).replace("embedding", "the embedding")


def step_in_words(step: Row, token: str) -> str:
    """What one step of gradient descent did to the shown example."""
    rows, share = step["positions"], formatting.number(100 * step["share"])
    better = sum(row["after"] > row["before"] for row in rows)
    return (
        f"Loss of the example: {formatting.value(step['loss'])} nats per token. Norm of the gradient: "
        f"{formatting.number(step['gradient'])}; of the weights: {formatting.number(step['weights'])}. One step "
        f"against the gradient moved the weights by {share}% of their norm (learning rate "
        f"{formatting.number(step['rate'])}): 1%, or less where 1% would, extrapolated linearly, more than halve the "
        f"loss. Loss after the step: {formatting.value(step['loss_after'])}. The {token} became more "
        f"likely at {better} of {len(rows)} positions."
    )
