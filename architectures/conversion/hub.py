"""Checkpoints of the Hugging Face hub, by name: ``hub:owner/name`` or ``hub:owner/name@revision``."""

import re
from pathlib import Path
from typing import Final

from archbench.tasks.base.errors import InputError, one_line, shortened

PREFIX: Final = "hub:"
NAME: Final = re.compile(r"hub:(?!.*\.\.)([\w][\w.-]*(?:/[\w][\w.-]*)?)(?:@([\w./-]+))?")
FILES: Final = ("*.json", "*.safetensors", "*.txt", "*.model")  # nothing that would have to be unpickled or run


def folder(name: str) -> Path:
    """The checkpoint's files, downloaded or from an earlier download; raises ``InputError``.

    With ``HF_HUB_OFFLINE=1`` only an earlier download is used.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(f'"{name}" is not a hub name; write it like "hub:owner/name" or "hub:owner/name@revision"')
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(match[1], revision=match[2], allow_patterns=list(FILES)))
    except Exception as error:  # the client raises anything from OSError to its own and its transport's errors
        reason = shortened(one_line(error).partition(". ")[0], 120)
        raise InputError(
            f"{name} cannot be downloaded ({reason}); connect to the network, or give the folder of a local copy"
        ) from error
