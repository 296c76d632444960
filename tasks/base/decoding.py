"""How answers are written: what a task asks for and a model follows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoding:
    """How to decode: ``strategy`` is greedy, sample, beam or confident (encoders, in ``rounds``).

    ``max_tokens`` bounds what is written, END included. Sampling: ``temperature``, the ``top_k`` likeliest tokens (0:
    all), the smallest set with mass ``top_p``. Beams are ranked by log-likelihood / length ** ``length_penalty``
    (1609.08144). ``count`` bounds how many examples of a task are answered.
    """

    max_tokens: int = 64
    strategy: str = "greedy"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    rounds: int = 8
    count: int = 64
