"""The sentences of the page that looks inside a run."""

from collections.abc import Sequence
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.inspection import inside_panels
from archbench.runs.base.store import Row

HEADS: Final = 60  # test examples that heads and mean losses are measured on


def lede(found: Row) -> str:
    """What was looked at, in two sentences."""
    tokens = found["train_tokens"]
    trained = f", trained on {formatting.count(tokens)} tokens" if tokens else ", not trained here"
    return (
        f"{found['architecture']} with {formatting.count(found['parameters'])} parameters on {found['dataset']} "
        f"({found['kind']}){trained}. Measured on {found['examples']} test examples that the run recorded, heads and "
        f"losses on {min(found['examples'], HEADS)} of them, and on one text that is shown in full."
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
            f"{begin} the given text.{short} What is right to answer was not said: the target is what the model wrote "
            "itself."
        )
    if text["given"]:
        return f"{begin} the given text: {guesses}, those before given.{short}"
    if wrong:
        return f"{begin} test example {text['example']}, the first with a wrong guess: {guesses}, those before given."
    return f"{begin} the first test example: in none of the {examples} is a guess wrong, the tokens before given."


def token_of(text: Row) -> str:
    """What a token of the shown target is called."""
    return "right token" if text["right"] else "token it wrote"


def left_out(found: Row) -> str:
    """What a map leaves out, and what its numbers do."""
    if [stop - start for start, stop in found["drawn"]] == found["tokens"]:
        return ""
    rows, columns = (_part(drawn, whole) for drawn, whole in zip(found["drawn"], found["tokens"], strict=True))
    drawn = f"Tokens drawn: {rows}" if rows == columns else f"Rows drawn: {rows}; columns: {columns}"
    kept = [len(found["queries"]), len(found["keys"])]
    numbers = "all" if kept == found["tokens"] else f"{kept[0]} rows and {kept[1]} columns"
    return f" {drawn}. The numbers hold {numbers}."


def _part(drawn: Sequence[int], whole: int) -> str:
    start, stop = drawn
    shown = stop - start
    if shown == whole:
        return f"all {whole}"
    if start == 0 or stop == whole:
        return f"the {'last' if start else 'first'} {shown} of {whole}"
    return f"the {shown} of {whole} around the border of source and target"


def beyond(rows: Sequence[Row], most: int) -> str:
    """What a figure of positions leaves out."""
    return f" Positions drawn: the first {most} of {len(rows)}. The numbers hold all." if len(rows) > most else ""


def similarity(found: Row | None) -> str:
    """Whether similar tokens have similar embeddings, as a sentence."""
    if found is None:
        return "Too few of this vocabulary's tokens are known to be used alike for a test."
    inside = f"{found['lower']:.3f} to {found['upper']:.3f}".replace("-", "\N{MINUS SIGN}")
    close = found["p"] < 0.05
    verdict = (
        "Tokens that are used alike do have more similar embeddings" if close else "That is within what chance gives"
    )
    return (
        f"{found['pairs']:,} pairs of tokens that are used alike have a mean cosine of "
        f"{formatting.value(found['within'])}, each of {found['groups']} groups counting the same. Dealt out anew "
        f"among tokens of like frequency, 95% of the time it is {inside}. {verdict} "
        f"(p {'< 0.001' if found['p'] < 0.001 else '= ' + format(found['p'], '.3f')}, one-sided)."
    )


def heads_in_words(found: Row) -> str:
    """How many heads have a role, and which one the score needs most."""
    heads = found["heads"]
    if not heads:
        return "No attention heads: something else stands in the place of attention in every layer."
    roles = [head["role"] for head in heads if head["role"] != "mixed"]
    listed = formatting.listing(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
    most = max(heads, key=lambda head: head["loss"])
    spare = sum(head["loss"] - 2 * head["error"] <= 0 for head in heads if head is not most)
    return (
        f"{len(heads)} heads: {listed + '; ' if listed else ''}{len(heads) - len(roles)} mixed. The loss needs "
        f"{inside_panels.head_name(most)} most: without it, it rises by {formatting.value(most['loss'])} "
        f"{found['loss_name']}." + f" Without {spare} of the others it does not rise for sure." * bool(spare)
    )


def probes_in_words(found: Row) -> list[str]:
    """For each question where along the layers it is best answered."""
    sentences = []
    for axis, question in dict.fromkeys((row["axis"], row["question"]) for row in found["probes"]):
        rows = [row for row in found["probes"] if (row["axis"], row["question"]) == (axis, question)]
        best = max(rows, key=lambda row: row["accuracy"])
        where = {"both": "", "source": " (source)", "target": " (target)"}[axis]
        told = [row for row in rows if row["behind"] > 2 * row["behind_error"]]
        others = [_place(row) for row in rows if row is not best and row not in told]
        also = f", not told from {formatting.listing(others)} by two standard errors" if others else ""
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
        f"The loss of the example was {formatting.value(step['loss'])} nats per token. The gradient is as long as "
        f"{formatting.number(step['gradient'])}, the weights as long as {formatting.number(step['weights'])}. All of "
        f"them moved against the gradient by {share}% of their length (a learning rate of "
        f"{formatting.number(step['rate'])}): a hundredth, or less where that would take more than half of the loss if "
        f"the slope stayed as it is. Afterwards the loss is {formatting.value(step['loss_after'])}, and the "
        f"{token} is likelier than before at {better} of {len(rows)} positions."
    )
