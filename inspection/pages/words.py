"""The sentences of the inspection page."""

from collections.abc import Sequence

from archbench.inspection.facts import EMBEDDING, HEADS, NO_ROLE, Row, is_behind, together
from archbench.inspection.pages import drawing
from archbench.reports.base import formatting


def lede(inspection: Row) -> str:
    """The model and the measured texts, in two sentences."""
    tokens, parameters = inspection["train_tokens"], formatting.count(inspection["parameters"])
    trained = f", trained on {formatting.count(tokens)} tokens" if tokens else ", not trained here"
    examples = inspection["examples"]
    return (
        f"{inspection['architecture']} with {parameters} parameters on {inspection['dataset']} ({inspection['kind']})"
        f"{trained}. All measurements are on {examples} recorded test examples (heads and losses: "
        f"{min(examples, HEADS)} of them) and on one text, which is shown in full."
    )


def below_gate(inspection: Row) -> str:
    """A warning where the model is below its gate; empty where it is not, or where nothing tells."""
    reason = inspection.get("gate", "")
    if not reason:
        return ""
    return (
        f"This model is below its gate: it is {reason}. Its embeddings, heads and layers may differ from those of "
        "a trained model. Claims about what a model learns are not tested on it."
    )


def text_in_words(text: Row, examples: int) -> str:
    """The text that is shown in full, and how many of its tokens the model predicts wrongly."""
    begin = f"A {text['tokenizer']} tokenizer with {text['vocabulary']:,} tokens split"
    wrong, tokens = text["wrong"], len(text["target_tokens"])
    cut = text.get("cut", 0)
    short = f" {cut:,} token{'s' if cut > 1 else ''} more exceeded the model's maximum lengths." if cut else ""
    guesses = f"{wrong or 'none'} of the {tokens} tokens of its target {'are' if wrong > 1 else 'is'} predicted wrongly"
    if text["given"] and not text["right"]:
        return (
            f"{begin} the given text.{short} No correct answer was given (--answer), so the target is the "
            "model's own answer."
        )
    if text["given"]:
        return f"{begin} the given text: {guesses}, given the previous tokens.{short}"
    if wrong:
        which = f"test example {text['example']}, the first with a wrong prediction"
        return f"{begin} {which}: {guesses}, given the previous tokens."
    return f"{begin} the first test example. None of the {examples} has a wrong prediction, given the previous tokens."


def token_of(text: Row) -> str:
    """The name for a token of the shown target."""
    return "correct token" if text["right"] else "generated token"


def left_out(inspection: Row) -> str:
    """Words for what a map leaves out, and for what its numbers do."""
    if [stop - start for start, stop in inspection["drawn"]] == inspection["tokens"]:
        return ""
    rows, columns = (
        _part(drawn, whole) for drawn, whole in zip(inspection["drawn"], inspection["tokens"], strict=True)
    )
    drawn = f"Tokens drawn: {rows}" if rows == columns else f"Rows drawn: {rows}; columns: {columns}"
    kept = [len(inspection["queries"]), len(inspection["keys"])]
    numbers = "all" if kept == inspection["tokens"] else f"{kept[0]} rows and {kept[1]} columns"
    return f" {drawn}. The CSV file has {numbers}."


def _part(drawn: Sequence[int], whole: int) -> str:
    start, stop = drawn
    visible = stop - start
    if visible == whole:
        return f"all {whole}"
    if start == 0 or stop == whole:
        return f"the {'last' if start else 'first'} {visible} of {whole}"
    return f"the {visible} of {whole} around the boundary of source and target"


def beyond(rows: Sequence[Row], most: int) -> str:
    """Words for what a figure of positions leaves out."""
    return f" Positions drawn: the first {most} of {len(rows)}. The CSV file has all." if len(rows) > most else ""


def similarity(test: Row | None) -> str:
    """Sentence that says whether similar tokens have similar embeddings."""
    if test is None:
        return "Not tested: too few tokens of this vocabulary have a known similar use."
    inside = f"{test['lower']:.3f} to {test['upper']:.3f}".replace("-", "\N{MINUS SIGN}")
    close = test["p"] < 0.05
    verdict = "Tokens with similar use have more similar embeddings" if close else "The difference may be due to chance"
    return (
        f"{test['pairs']:,} pairs of tokens with similar use have a mean cosine of {formatting.value(test['within'])} "
        f"(mean over {test['groups']} groups). After permuting tokens of similar frequency, 95% of means are {inside}. "
        f"{verdict} "
        f"({formatting.p_text(test['p'])}, one-sided)."
    )


def heads_in_words(inspection: Row) -> str:
    """How many heads have a role, and which one the score needs most."""
    heads = inspection["heads"]
    if not heads:
        return "This model has no attention heads."
    roles = [head["role"] for head in heads if head["role"] != NO_ROLE]
    listed = formatting.listing(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
    most = max(heads, key=lambda head: head["loss"])
    spare = sum(head["loss"] - 2 * head["error"] <= 0 for head in heads if head is not most)
    return (
        f"{len(heads)} heads: {listed + '; ' if listed else ''}{len(heads) - len(roles)} {NO_ROLE}. "
        f"The most important is {drawing.head_name(most)}: removing it raises the loss by "
        f"{formatting.value(most['loss'])} {inspection['loss_name']}."
        + f" For {spare} other head{'s' * (spare > 1)} the rise is not significant."
        * bool(spare)
    )


def probes_in_words(inspection: Row) -> list[str]:
    """For each question where along the layers it is best answered."""
    sentences = []
    for (axis, question), rows in together(inspection["probes"], "axis", "question").items():
        best = max(rows, key=lambda row: row["accuracy"])
        where = {"both": "", "source": " (source)", "target": " (target)"}[axis]
        others = [_place(row) for row in rows if row is not best and not is_behind(row)]
        also = f"; within two standard errors: {formatting.listing(others)}" if others else ""
        sentences.append(
            f"{question}{where}: highest accuracy at {_place(best)} ({formatting.value(best['accuracy'], 2)}; at the "
            f"embedding {formatting.value(rows[0]['accuracy'], 2)}, chance {formatting.value(best['chance'], 2)}){also}"
        )
    return sentences


def _place(row: Row) -> str:
    return str(row["layer"]).replace(EMBEDDING, f"the {EMBEDDING}")


def likelier(step: Row) -> int:
    """The number of positions at which one step of gradient descent made the target's token more likely."""
    return sum(row["after"] > row["before"] for row in step["positions"])


def step_in_words(step: Row, token: str) -> str:
    """Words for what one step of gradient descent did to the shown example."""
    rows, share = step["positions"], formatting.number(100 * step["share"])
    return (
        f"Loss of the example: {formatting.value(step['loss'])} nats per token. Norm of the gradient: "
        f"{formatting.number(step['gradient'])}; of the weights: {formatting.number(step['weights'])}. One step of "
        f"gradient descent (learning rate {formatting.number(step['rate'])}) changed the weights by {share}% of their "
        "norm. The step is 1%, or smaller if 1% would more than halve the loss by linear extrapolation. Loss after "
        f"the step: {formatting.value(step['loss_after'])}. The {token} became more likely at "
        f"{likelier(step)} of {len(rows)} positions."
    )
