"""The three families of transformers under one budget: decoder-only, encoder-only and encoder-decoder.

    python examples/write_phrases.py    # once: writes the phrases into examples/data; needs archbench
    python examples/three_families.py --tokens 600000 --seed 0

Each model translates generated phrases (numbers, dates, durations) from English to German. The families have the same
parts, parameters, data and recipe. They differ in what a token attends to, and in which tokens training predicts:

    decoder           earlier tokens of source and target               each target token, from the tokens before it
    encoder           all tokens of source and target                   masked target tokens, from the tokens not masked
    encoder-decoder   the source, and earlier tokens of the target      each target token, from the tokens before it

All are scored alike, from left to right: by the exact likelihood of the right translations, and by what they write.
This file was written from the documents of archbench, and imports nothing of it.
Shapes in comments: b rows (examples), n tokens, m tokens that are read, t target tokens, d width, h heads, e width of
a head, v vocabulary. Numbers such as 1706.03762 are papers on arXiv.
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

PAD, BOS, END, MASK, UNK = range(5)
RESERVED, VOCABULARY, LONGEST = [PAD, BOS, MASK, UNK], 512, 24  # no target has RESERVED; LONGEST counts END
Rows = list[list[int]]  # token ids of each example


# ---------------------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class Pair:
    source: list[int]
    target: list[int]  # ends with END

    @property
    def tokens(self) -> int:
        return len(self.source) + len(self.target)


def read_pairs(path: Path) -> list[Pair]:
    """The pairs in a file whose first two columns are the token ids of source and target."""
    if not path.exists():
        raise SystemExit(f"{path} is missing; run examples/write_phrases.py first, which needs archbench")
    columns = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [Pair([*map(int, source.split())], [*map(int, target.split())]) for source, target, *_ in columns]


def plan(pairs: list[Pair], tokens: int, batch_tokens: int, seed: int) -> list[list[Pair]]:
    """The batches of a training run that reads ``tokens``, the same for every family. An epoch has each pair once. A
    batch has pairs of similar lengths among 16 batches' worth of random pairs; the order of batches is random."""
    rng, batches = random.Random(seed), []
    while tokens > 0:
        epoch, room, drawn = [], 0, rng.sample(pairs, len(pairs))
        pools = [end // (16 * batch_tokens) for end in accumulate(pair.tokens for pair in drawn)]
        for _, pair in sorted(zip(pools, drawn, strict=True), key=lambda pooled: (pooled[0], pooled[1].tokens)):
            if pair.tokens > room:
                epoch.append([])
                room = batch_tokens
            epoch[-1].append(pair)
            room -= pair.tokens
        rng.shuffle(epoch)
        while epoch and tokens > 0:
            batches.append(epoch.pop())
            tokens -= sum(pair.tokens for pair in batches[-1])
    return batches


def pad(rows: Rows) -> Tensor:
    """Rows of different lengths as one tensor (b, n), padded on the right."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


# --------------------------------------------------------------------------------------------------------------- parts
@dataclass(frozen=True)
class Size:
    width: int
    heads: int
    depth: int  # layers of each stack
    hidden: int  # width of the feed-forward networks


def linear(inputs: int, outputs: int, zero: bool = False) -> nn.Linear:
    """A matrix without bias, random or all zeros at first."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=0.0 if zero else inputs**-0.5)
    return layer


def rotate(x: Tensor) -> Tensor:
    """Rotary positions (2104.09864) of queries or keys x (b, h, n, e). Pairs of channels are rotated by angles that are
    proportional to the position, so the product of a query and a key depends on the distance between them."""
    n, e = x.shape[-2:]
    angles = torch.arange(n)[:, None] * 10_000.0 ** (-torch.arange(0, e, 2) / e)  # (n, e / 2)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos().repeat(1, 2) + torch.cat([-second, first], dim=-1) * angles.sin().repeat(1, 2)


class Attention(nn.Module):
    """Multi-head attention (1706.03762)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.query, self.key, self.value = (linear(size.width, size.width) for _ in range(3))
        self.output = linear(size.width, size.width, zero=True)

    def forward(self, x: Tensor, visible: Tensor, memory: Tensor | None = None) -> Tensor:
        """The tokens of x (b, n, d) read each other or, in cross-attention, those of ``memory`` (b, m, d). ``visible``
        is true where one may read another, (b or 1, 1, n or 1, m). Cross-attention has no positions."""
        read = x if memory is None else memory
        projected = self.query(x), self.key(read), self.value(read)  # (b, n, d), (b, m, d), (b, m, d)
        query, key, value = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in projected)  # (b, h, n or m, e)
        if memory is None:
            query, key = rotate(query), rotate(key)
        scores = query @ key.mT / query.shape[-1] ** 0.5  # (b, h, n, m)
        weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
        return self.output((weights @ value).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Gated feed-forward network: SwiGLU (2002.05202)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate, self.up = linear(size.width, size.hidden), linear(size.width, size.hidden)
        self.down = linear(size.hidden, size.width, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Each part reads layer-normalized states (1607.06450, without shift) and adds its output to the states (pre-norm,
    2002.04745). ``memory``, for cross-attention: the states of another stack, and which of them are visible."""

    def __init__(self, size: Size, cross: bool) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(size.width, bias=False), Attention(size)
        if cross:
            self.cross_norm, self.cross = nn.LayerNorm(size.width, bias=False), Attention(size)
        self.feedforward_norm, self.feedforward = nn.LayerNorm(size.width, bias=False), FeedForward(size)

    def forward(self, x: Tensor, visible: Tensor, *memory: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), visible)
        if memory:
            x = x + self.cross(self.cross_norm(x), memory[1], memory[0])
        return x + self.feedforward(self.feedforward_norm(x))


class Stack(nn.Module):
    """Blocks, and a norm after the last."""

    def __init__(self, size: Size, cross: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(size, cross) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width, bias=False)

    def forward(self, x: Tensor, visible: Tensor, *memory: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, visible, *memory)
        return self.norm(x)


def earlier(tokens: Tensor) -> Tensor:
    """Visible to a token: itself and all tokens before it, (1, 1, n, n)."""
    return torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()[None, None]


def present(tokens: Tensor) -> Tensor:
    """Visible to every token: all tokens but padding, (b, 1, 1, n)."""
    return (tokens != PAD)[:, None, None]


# ------------------------------------------------------------------------------------------------------------ families
class Model(nn.Module):
    """A token table, a stack and an output matrix, which is not tied to the table."""

    def __init__(self, size: Size, cross: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, size.width)
        nn.init.normal_(self.table.weight, std=0.3)
        self.stack = Stack(size, cross)
        self.output = linear(size.width, VOCABULARY, zero=True)

    def read(self, sources: Rows, targets: Rows, visible: Callable[[Tensor], Tensor]) -> Tensor:
        """The states of the targets, (b, t, d), if the stack reads each source and target as one text."""
        tokens = pad([source + target for source, target in zip(sources, targets, strict=True)])  # (b, n)
        states = self.stack(self.table(tokens), visible(tokens))
        rows = zip(states, sources, targets, strict=True)
        return pad_sequence([row[len(source) :][: len(target)] for row, source, target in rows], batch_first=True)

    def log_p(self, states: Tensor, barred: list[int]) -> Tensor:
        """Log probabilities (..., v) from states (..., d); -inf for the ``barred`` tokens."""
        return self.output(states).index_fill(-1, torch.tensor(barred), -math.inf).log_softmax(-1)


def nats(log_p: Tensor, tokens: Tensor) -> Tensor:
    """The negative of log_p (b, t, v) at the tokens (b, t), and 0 at padding."""
    return -log_p.gather(-1, tokens[..., None]).squeeze(-1).masked_fill(tokens == PAD, 0.0)


class Causal(Model):
    """Decoder or encoder-decoder. ``predict(sources, begun)`` gives the log probabilities (b, t, v) of the token after
    each token of ``begun``, where a row of ``begun`` is BOS and the first tokens of a target."""

    def nll(self, pairs: list[Pair]) -> Tensor:
        """-log p(target | source), (b,): the sum over tokens of -log p(token | source, tokens before it)."""
        log_p = self.predict([pair.source for pair in pairs], [[BOS, *pair.target[:-1]] for pair in pairs])
        return nats(log_p, pad([pair.target for pair in pairs])).sum(1)

    def loss(self, pairs: list[Pair], rng: random.Random) -> Tensor:
        """The training loss: the exact negative log-likelihood. Nothing is masked."""
        return self.nll(pairs).sum()

    def greedy(self, sources: Rows) -> Rows:
        """Translations in which every token is the likeliest, up to END. For brevity, without a cache."""
        begun = [[BOS] for _ in sources]
        for _ in range(LONGEST):
            tokens = self.predict(sources, begun)[:, -1].argmax(-1).tolist()
            begun = [[*row, token] for row, token in zip(begun, tokens, strict=True)]
        return [row[1 : [*row, END].index(END) + 1] for row in begun]


class Decoder(Causal):
    """Decoder-only, like GPT: the stack reads source, BOS and target as one text. Padding is later than all of it."""

    def predict(self, sources: Rows, begun: Rows) -> Tensor:
        return self.log_p(self.read(sources, begun, earlier), RESERVED)


class EncoderDecoder(Causal):
    """Encoder-decoder, like T5 (1910.10683): an encoder reads the source; the stack reads the target and, by
    cross-attention, the states of the encoder."""

    def __init__(self, size: Size) -> None:
        super().__init__(size, cross=True)
        self.encoder = Stack(size)

    def predict(self, sources: Rows, begun: Rows) -> Tensor:
        source, target = pad(sources), pad(begun)
        memory = self.encoder(self.table(source), present(source))  # (b, m, d)
        return self.log_p(self.stack(self.table(target), earlier(target), memory, present(source)), RESERVED)


class Encoder(Model):
    """Encoder-only, like BERT (1810.04805): the stack reads source, BOS and cells, which hold the target's tokens or
    MASK. The number of cells n, which is the target's length without END, is predicted first (1904.09324)."""

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.length = linear(size.width, LONGEST + 1, zero=True)

    def lengths(self, sources: Rows) -> Tensor:
        """Log probabilities of n = 0, 1, 2, ..., (b, LONGEST + 1), from the state of BOS in a pass without cells."""
        return self.length(self.read(sources, [[BOS]] * len(sources), present)[:, 0]).log_softmax(-1)

    def fill(self, sources: Rows, cells: Rows) -> Tensor:
        """Log probabilities of each cell's token, (b, t, v)."""
        return self.log_p(self.read(sources, [[BOS, *row] for row in cells], present)[:, 1:], [*RESERVED, END])

    def nll(self, pairs: list[Pair]) -> Tensor:
        """-log p(target | source), (b,): that of n, plus that of each token from left to right. A target takes a pass
        over n rows: row i shows the tokens before cell i and masks the others, to predict the token of cell i."""
        total = []
        for pair, length_log_p in zip(pairs, self.lengths([pair.source for pair in pairs]), strict=True):
            tokens, n = pair.target[:-1], len(pair.target) - 1
            log_p = self.fill([pair.source] * n, [tokens[:i] + [MASK] * (n - i) for i in range(n)])  # (n, n, v)
            total.append(-length_log_p[n] - log_p[torch.arange(n), torch.arange(n), tokens].sum())
        return torch.stack(total)

    def loss(self, pairs: list[Pair], rng: random.Random) -> Tensor:
        """What training minimizes. Of n cells, k random ones are masked, with k drawn from 1 to n. Each of them weighs
        n / E[k] = 2n / (n + 1), so that all the cells of a target weigh n on average."""
        sources, targets, cells = [pair.source for pair in pairs], [pair.target[:-1] for pair in pairs], []
        for target in targets:
            masked = rng.sample(range(len(target)), rng.randint(1, len(target)))
            cells.append([MASK if i in masked else token for i, token in enumerate(target)])
        n = torch.tensor([len(target) for target in targets])
        length_nats = -self.lengths(sources)[torch.arange(len(n)), n]  # (b,)
        hidden = pad(targets).masked_fill(pad(cells) != MASK, PAD)  # (b, t): the tokens that are masked
        return (length_nats + 2 * n / (n + 1) * nats(self.fill(sources, cells), hidden).sum(1)).sum()

    def greedy(self, sources: Rows) -> Rows:
        """Translations of the likeliest length, in which each cell, from left to right, gets its likeliest token."""
        answers = [[MASK] * n for n in self.lengths(sources).argmax(-1).tolist()]
        for i in range(max(map(len, answers))):
            tokens = self.fill(sources, answers)[:, i].argmax(-1).tolist()
            written = zip(answers, tokens, strict=True)
            answers = [[*row[:i], token, *row[i + 1 :]] if i < len(row) else row for row, token in written]
        return [[*answer, END] for answer in answers]


SIZES = {  # of 250,160 parameters each, without token table and output matrices
    "decoder": Size(width=80, heads=4, depth=3, hidden=240),
    "encoder": Size(width=80, heads=4, depth=3, hidden=240),
    "encoder-decoder": Size(width=80, heads=4, depth=1, hidden=360),
}


def build(family: str, size: Size) -> Model:
    return {"decoder": Decoder, "encoder": Encoder, "encoder-decoder": EncoderDecoder}[family](size)


# --------------------------------------------------------------------------------------------------- training, scoring
@dataclass(frozen=True)
class Recipe:
    tokens: int = 600_000  # of sources and targets, END included
    batch_tokens: int = 1_024
    learning_rate: float = 0.01  # the highest
    warmup: float = 0.05  # part of the steps
    weight_decay: float = 0.1
    clip: float = 1.0  # largest norm of the gradient


@torch.no_grad()
def muon(matrices: list[nn.Parameter], averages: list[Tensor], rate: float, decay: float) -> None:
    """A step of Muon (Jordan 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal. Its updates are as
    large as those of AdamW (2502.16982), so that one learning rate serves both."""
    for weight, average in zip(matrices, averages, strict=True):
        average.lerp_(weight.grad, 0.05)
        update = orthogonal(weight.grad.lerp(average, 0.95))  # Nesterov's momentum
        weight.mul_(1 - rate * decay)
        weight.sub_(rate * 0.2 * max(weight.shape) ** 0.5 * update)


def orthogonal(x: Tensor) -> Tensor:
    """Five Newton-Schulz steps, which bring the singular values of a matrix near 1."""
    if x.shape[0] > x.shape[1]:
        return orthogonal(x.T).T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def groups(model: Model) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Matrices and norms of the stacks, which the budget counts; token table and output matrices, which it does not."""
    stacked = [p for part in model.children() if isinstance(part, Stack) for p in part.parameters()]
    tables = [p for part in model.children() if not isinstance(part, Stack) for p in part.parameters()]
    return [p for p in stacked if p.dim() == 2], [p for p in stacked if p.dim() == 1], tables


def train(model: Model, pairs: list[Pair], recipe: Recipe, seed: int) -> None:
    """Trains the model in place, by Muon for the matrices of stacks and AdamW (1711.05101) for the rest. The learning
    rate rises linearly in the warm-up, then falls linearly to 0. Norms have no weight decay."""
    batches, rng = plan(pairs, recipe.tokens, recipe.batch_tokens, seed), random.Random(seed)
    matrices, norms, tables = groups(model)
    averages = [torch.zeros_like(matrix) for matrix in matrices]
    decays = [{"params": tables, "weight_decay": recipe.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(decays, betas=(0.9, 0.95))
    for step, batch in enumerate(batches):
        progress = (step + 0.5) / len(batches)
        rate = recipe.learning_rate * min(progress / recipe.warmup, (1 - progress) / (1 - recipe.warmup))
        model.zero_grad()
        (model.loss(batch, rng) / sum(len(pair.target) for pair in batch)).backward()  # nats per target token
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        muon(matrices, averages, rate, recipe.weight_decay)
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.step()


@torch.no_grad()
def score(model: Model, pairs: list[Pair]) -> tuple[float, float]:
    """Nats per target token, by exact likelihood, and the share of translations that are right in every token."""
    parts = [pairs[at : at + 100] for at in range(0, len(pairs), 100)]
    loss = sum(model.nll(part).sum().item() for part in parts) / sum(len(pair.target) for pair in pairs)
    answers = [answer for part in parts for answer in model.greedy([pair.source for pair in part])]
    return loss, sum(answer == pair.target for answer, pair in zip(answers, pairs, strict=True)) / len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--tokens", type=int, default=Recipe.tokens, help="training tokens of each family")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pairs, test = (read_pairs(Path(__file__).parent / "data" / f"{name}.tsv") for name in ("train", "test"))
    print("family           parameters  nats per token  exact match  training, s  scoring, s")
    for family in given.family:
        torch.manual_seed(given.seed)
        model, start = build(family, SIZES[family]), time.perf_counter()
        train(model, pairs, Recipe(tokens=given.tokens), given.seed)
        trained, (loss, right) = time.perf_counter(), score(model, test)
        parameters = sum(p.numel() for group in groups(model)[:2] for p in group)
        seconds = f"{trained - start:>13.0f}{time.perf_counter() - trained:>12.0f}"
        print(f"{family:<15}{parameters:>12,}{loss:>16.4f}{right:>13.3f}{seconds}", flush=True)


if __name__ == "__main__":
    main()
