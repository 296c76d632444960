"""Weights & Biases: one W&B run for each run, in a project named after the experiment.

``WANDB_MODE``, ``WANDB_PROJECT``, ``WANDB_ENTITY`` and the other variables of its client apply. With
``WANDB_MODE=offline`` everything stays in ``DIR/wandb`` until ``wandb sync``.
"""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archbench.runs.store import store
from archbench.sharing.trackers import Picture, Point
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

SENT = "archbench.json"  # in DIR/wandb: how many points of each run were sent
AXES = ("tokens", "flops", "seconds")


class WeightsAndBiases:
    """Sends points by its client. A run keeps its id, so that later points join the earlier ones."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / "wandb" / SENT
        self.project = os.environ.get("WANDB_PROJECT") or store.read_experiment(root)["name"]
        self.sent: dict[str, Any] = {}
        if self.file.is_file():
            try:
                self.sent = dict(sealed.read_json(self.file))
            except (InputError, TypeError, ValueError):
                raise InputError(f"{self.file}: cannot be read; remove it to send all points again") from None

    @property
    def where(self) -> str:
        if os.environ.get("WANDB_MODE") in ("offline", "dryrun"):
            return f"on this machine only; to upload them: wandb sync {self.root}/wandb/offline-run-*"
        return f"in the project {self.project}"

    def known(self, run: str) -> int:
        return int(self.sent.get(run, 0))

    def show(self, run: str, facts: Mapping[str, Any], points: Sequence[Point], ended: bool) -> None:
        with self._run(run, name=run, group=str(facts.get("dataset", "")), config=dict(facts)) as tracked:
            for axis in AXES:
                tracked.define_metric(axis, hidden=True)
            for name in dict.fromkeys(point.name for point in points):
                tracked.define_metric(name, step_metric="tokens")
            for number, point in enumerate(points, start=self.known(run)):
                axes = {axis: getattr(point, axis) for axis in AXES}
                tracked.log({point.name: point.value, **axes}, step=number)  # W&B ignores a step that it has
            if ended:
                tracked.summary.update({point.name: point.value for point in points if "test/" in point.name})
        self._keep(run, self.known(run) + len(points))

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        import wandb
        from PIL import Image

        digest = hashlib.sha256(b"".join(picture.png for picture in pictures)).hexdigest()
        if not pictures or self.sent.get("figures") == digest:
            return
        with self._run("report", name="report", group="report", config={}) as tracked:
            images = {
                f"figures/{picture.name}": wandb.Image(Image.open(io.BytesIO(picture.png)), caption=picture.caption)
                for picture in pictures
            }
            tracked.log(images)
        self._keep("figures", digest)

    def _run(self, key: str, **facts: Any) -> Any:
        import wandb

        identity = hashlib.sha256(f"{self.root.resolve()} {key}".encode()).hexdigest()[:16]
        settings = wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True)
        where: dict[str, Any] = {"project": self.project, "dir": str(self.root), "settings": settings}
        return wandb.init(id=identity, resume="allow", reinit="finish_previous", **where, **facts)

    def _keep(self, key: str, value: int | str) -> None:
        self.sent[key] = value
        sealed.write_json(self.file, self.sent)
