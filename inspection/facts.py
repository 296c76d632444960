"""What measurement and page share: the file of a run's measurements, and the names in it. Knows no torch."""

from collections.abc import Mapping
from typing import Any, Final

Row = Mapping[str, Any]

SCHEMA: Final = 3
FILE: Final = "inspection.json"
HEADS: Final = 60  # test examples that heads, norms and mean losses are measured on
NO_ROLE: Final = "mixed"  # of a head that follows no pattern
THIS, BEFORE, AFTER, CLASS = "this token", "token before", "token after", "class"  # questions of linear probes
EMBEDDING: Final = "embedding"  # the name of the stream before the first layer
