"""Built-in data sets by name, none from a data hub: generated here, from Python packages, or from their publishers."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path

from archbench.tasks.base.dataset import SPLITS, Dataset, Text, make_dataset
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data import (
    bible,
    cmudict,
    hard_phrases,
    monolingual,
    phrase_pairs,
    phrases,
    plain_text,
    public,
    random_strings,
    sentiment,
    shakespeare,
)
from archbench.tasks.builtin_data.languages import LANGUAGES
from archbench.tasks.builtin_data.skills import skill

JOIN = "+"  # between running texts that are read together
NAMES = {"de": "German", "es": "Spanish", "fr": "French"}


@dataclass(frozen=True)
class Builtin:
    """A built-in data set: the kinds of task it serves (the usual one first), one line about it, and how it is made.

    ``load(kind, cache, say)`` returns the data; ``version`` changes whenever the data would. ``primary`` gives, by
    kind, the metric that a task with these data is judged by, where that is not the kind's own. ``limits`` are the most
    tokens of a source and of a target (END counted) that the data have, where they say so.
    """

    name: str
    kinds: tuple[str, ...]
    description: str
    version: str
    load: Callable[[str, Path, Say], Dataset]
    primary: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[int, int] | None = None


def listing() -> list[Builtin]:
    """The built-in data sets for display, with only a few of the many languages, pairs of them and mixtures."""
    phrase_names = (
        *("phrases-en-de", "phrases-en-es", "phrases-en-fr", "phrases-en-de-hard", "phrases-pairs-en-de"),
        f"{monolingual.PREFIX}en-de",
        f"{plain_text.PREFIX}sentiment+phrases-en-de",
    )
    fetched = [entry for entry in _fetched() if entry.name not in public.UNLISTED]
    return [*fetched, *map(find, (*phrase_names, random_strings.FAMILY, *_skill_names()))]


def names() -> list[str]:
    """Every built-in name, for finding the nearest to a misspelt one."""
    made = [*phrases.names(), *hard_phrases.names(), *phrase_pairs.names()]
    return [*(entry.name for entry in _fetched()), *made, random_strings.FAMILY, *_skill_names()]


def is_builtin(name: str) -> bool:
    """True if ``name`` is a built-in data set, well formed or not (``phrases-en-xx`` is one that cannot be made)."""
    if JOIN in name and not name.startswith(plain_text.PREFIX):
        return all(map(is_builtin, name.split(JOIN)))
    made = re.fullmatch(rf"phrases-[^./]*|{random_strings.FAMILY}(:[^./]*)?", name)
    return (
        bool(made)
        or name.startswith((plain_text.PREFIX, skill.PREFIX))
        or any(entry.name == name for entry in _fetched())
    )


def find(name: str) -> Builtin:
    """The built-in data set of that name. Raises ``InputError``, which suggests the nearest name."""
    if name.startswith(plain_text.PREFIX):
        return _as_text(name)
    if name.startswith(skill.PREFIX):
        return _skill(name)
    if JOIN in name:
        return _joined(name)
    if name.startswith(monolingual.PREFIX):
        return _monolingual(name)
    if name.startswith(phrase_pairs.PREFIX):
        return _phrase_pairs(name)
    if name.partition(":")[0].endswith(hard_phrases.SUFFIX) and name.startswith("phrases-"):
        return _hard_phrases(name)
    if name.startswith("phrases-"):
        return _phrases(name)
    if name.partition(":")[0] == random_strings.FAMILY:
        return _strings(name)
    for entry in _fetched():
        if entry.name == name:
            return entry
    near = get_close_matches(name, names(), 1)
    hint = f'did you mean "{near[0]}"?' if near else "archbench list tasks names them; a file needs a suffix like .tsv"
    raise InputError(f'data: no built-in data set "{name}"; {hint}')


def load(name: str, kind: str, cache: Path, say: Say) -> Dataset:
    """The data of a built-in name for one kind of task. Raises ``InputError`` where it does not serve that kind."""
    entry = find(name)
    if kind not in entry.kinds:
        raise InputError(f'data: "{name}" is for {" and ".join(entry.kinds)}, not for {kind}')
    return entry.load(kind, cache, say)


def _fetched() -> list[Builtin]:
    return [
        Builtin(
            "shakespeare",
            ("generation",),
            "42 plays and poems in English, 5 million characters, split by work",
            shakespeare.EXTRACT.sha256,
            lambda kind, cache, say: shakespeare.load(cache, say),
        ),
        Builtin(
            "sentiment",
            ("classification",),
            "13,098 human-rated sentences: tweets, product reviews, editorials; negative, neutral or positive",
            sentiment.EXTRACT.sha256,
            lambda kind, cache, say: sentiment.load(cache, say),
        ),
        Builtin(
            "bible-groups",
            ("classification",),
            f"English Bible verses, which of {len(bible.GROUPS)} groups of books they are from, split by chapter",
            bible.EXTRACT.sha256,
            lambda kind, cache, say: bible.groups(cache, say),
        ),
        Builtin(
            "bible-en",
            ("generation",),
            "English Bible verses as running text, without what the other Bible data test on",
            bible.EXTRACT.sha256,
            lambda kind, cache, say: bible.english(cache, say),
        ),
        *(_verses(code) for code in bible.LANGUAGES if code != "en"),
        Builtin(
            "cmudict",
            ("translation",),
            "117,493 English words and their pronunciations (CMUdict), letters to phonemes, split by word",
            cmudict.EXTRACT.sha256,
            lambda kind, cache, say: cmudict.load(cache, say),
            primary={"translation": "exact_match"},  # the share of words that are right
        ),
        *map(_public, public.PUBLIC),
    ]


def _public(name: str) -> Builtin:
    data = public.PUBLIC[name]
    return Builtin(
        name,
        (data.kind,),
        data.description,
        data.version,
        lambda kind, cache, say: public.load(name, cache, say),
        primary={data.kind: data.primary} if data.primary else {},
    )


def _verses(code: str) -> Builtin:
    return Builtin(
        f"bible-en-{code}",
        ("translation",),
        f"Bible verses, Basic English to {NAMES[code]}, whole books held out",
        bible.EXTRACT.sha256,
        lambda kind, cache, say: bible.translation(code, cache, say),
        primary={"translation": "bits_per_byte"},  # models of this size do not translate it well enough for the others
    )


def _phrases(name: str) -> Builtin:
    return Builtin(
        name,
        ("translation", "generation", "classification"),
        f"generated numbers, dates, durations, quantities with one right answer; any two of {' '.join(LANGUAGES)}; as "
        "classification: which of six kinds of phrase",
        f"{phrases.VERSION} {metadata.version('babel')} {metadata.version('num2words')}",
        lambda kind, cache, say: phrases.load(name, kind, say),
        primary={"translation": "exact_match"},  # there is one right answer
    )


def _hard_phrases(name: str) -> Builtin:
    return Builtin(
        name,
        ("translation", "generation", "classification"),
        "phrases whose test and validation combine what training never shows together; any two languages",
        f"{hard_phrases.VERSION} {_phrases(name).version}",
        lambda kind, cache, say: hard_phrases.load(name, kind, say),
        primary={"translation": "exact_match"},
    )


def _phrase_pairs(name: str) -> Builtin:
    return Builtin(
        name,
        ("classification",),
        "two phrases, one in each language: is the second the translation of the first, or a near miss?",
        f"{phrase_pairs.VERSION} {_phrases(name).version}",
        lambda kind, cache, say: phrase_pairs.load(name, say),
    )


def _monolingual(name: str) -> Builtin:
    return Builtin(
        name,
        ("generation",),
        "phrases of two languages as running text, each by itself, without what phrases test on",
        f"{monolingual.VERSION} {_phrases('phrases-en-de').version}",
        lambda kind, cache, say: monolingual.load(name, say),
    )


def _joined(name: str) -> Builtin:
    """Running texts one after the other."""
    parts = [find(part) for part in name.split(JOIN)]
    for part in parts:
        if "generation" not in part.kinds:
            raise InputError(f'data: "{name}": {part.name} is for {" and ".join(part.kinds)}, not running text')
    if len({part.name for part in parts}) < len(parts):
        raise InputError(f'data: "{name}" names the same data twice')
    return Builtin(
        name,
        ("generation",),
        " and ".join(part.name for part in parts),
        JOIN.join(part.version for part in parts),
        lambda kind, cache, say: _together([part.load(kind, cache, say) for part in parts]),
    )


def _together(parts: Sequence[Dataset]) -> Dataset:
    splits = []
    for split in SPLITS:
        texts = [getattr(part, split) for part in parts]
        splits.append(Text([piece for text in texts for piece in text.pieces], sum(text.bytes for text in texts)))
    licence = "; ".join(dict.fromkeys(part.licence for part in parts))
    return make_dataset("generation", *splits, licence=licence, origin="; ".join(part.origin for part in parts))


def _as_text(name: str) -> Builtin:
    parts = [find(part) for part in plain_text.parse(name)]
    if any(part.kinds == ("memorization",) for part in parts):
        raise InputError(
            f'data: "{name}": {random_strings.FAMILY} are the same in every split and test nothing as text'
        )
    others = f", trained together with {' and '.join(part.name for part in parts[1:])}" if parts[1:] else ""
    return Builtin(
        name,
        ("translation",),
        f"{parts[0].name} as prompts and answers in plain text{others}",
        " ".join([f"{plain_text.VERSION}", *(part.version for part in parts)]),
        lambda kind, cache, say: plain_text.mixture(
            [plain_text.Part(part.name, part.load(part.kinds[0], cache, say)) for part in parts]
        ),
        primary={"translation": "exact_match" if "classification" in parts[0].kinds else "bits_per_byte"},
    )


def _skill_names() -> list[str]:
    return [f"{skill.PREFIX}{name}" for name in skill.skills()]


def _skill(name: str) -> Builtin:
    named = skill.parse(name)
    version, asks = f"{skill.VERSION}", named.skill.asks
    return Builtin(name, ("skill",), asks, version, lambda kind, cache, say: named.load(), limits=named.limits)


def _strings(name: str) -> Builtin:
    return Builtin(
        name,
        ("memorization",),
        f"random strings with keys, {random_strings.BITS} bits each, the same in every split: measures memory",
        f"{random_strings.VERSION}",
        lambda kind, cache, say: random_strings.load(name, say),
    )
