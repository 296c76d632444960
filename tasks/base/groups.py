"""Splits by group: all parts of a document or chapter, and all duplicates, get the same split."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence


def normal(value: str) -> str:
    """Text reduced to its words, for finding duplicates: "Yay!  It's me" -> "yay it s me".

    A text without words is only folded, with single spaces.
    """
    folded = unicodedata.normalize("NFKC", value).casefold()
    return " ".join(re.findall(r"\w+", folded)) or " ".join(folded.split())


def components(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """A group number for each item: items that share a key, directly or through other items, are in one group."""
    parent = list(range(len(keys)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    first: dict[Hashable, int] = {}
    for item, item_keys in enumerate(keys):
        for key in item_keys:
            a, b = root(first.setdefault(key, item)), root(item)
            parent[max(a, b)] = min(a, b)
    return [root(item) for item in range(len(keys))]


def sides(groups: Sequence[Hashable], shares: dict[str, float], seed: int = 0) -> list[str]:
    """The split of each item, the same within a group: ``shares`` are filled in turn, "train" takes the rest.

    Groups are ordered by a hash of their name and ``seed``. No share is exceeded: a group that does not fit into one is
    offered to the next.
    """
    sizes: dict[Hashable, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    lacking = {split: round(share * len(groups)) for split, share in shares.items()}
    chosen: dict[Hashable, str] = {}
    for group in sorted(sizes, key=lambda group: _order(group, seed)):
        split = next((split for split, room in lacking.items() if sizes[group] <= room), "train")
        chosen[group] = split
        if split != "train":
            lacking[split] -= sizes[group]
    return [chosen[group] for group in groups]


def _order(group: Hashable, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {group}".encode()).digest()
