"""TensorBoard: one folder of event files for each run, in ``DIR/tensorboard``.

The step of a point is its number of training tokens, in which budgets are matched.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from archbench.sharing.trackers import Picture, Point, began

FOLDER = "tensorboard"
REPORT = "report"  # the folder of the figures


class TensorBoard:
    """Writes event files; what is there already is known from them."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self.counts: dict[str, int] = {}

    @property
    def where(self) -> str:
        return f"to see them: tensorboard --logdir {self.folder}"

    def known(self, run: str) -> int:
        if run not in self.counts or not (self.folder / run).is_dir():
            values = (value for event in _events(self.folder / run) for value in event.summary.value)
            self.counts[run] = sum(value.HasField("simple_value") for value in values)
        return self.counts[run]

    def show(self, run: str, facts: Mapping[str, Any], points: Sequence[Point], ended: bool) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        summaries = []
        if not self.known(run):
            summaries.append((began(points[0], facts), 0, _hyperparameters(facts)))
        for point in points:
            value = Summary.Value(tag=point.name, simple_value=point.value)
            summaries.append((began(point, facts), point.tokens, Summary(value=[value])))
        self._write(self.folder / run, summaries)
        self.counts[run] = self.known(run) + len(points)

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        folder = self.folder / REPORT
        seen = [
            (value.tag, hashlib.sha256(value.image.encoded_image_string).hexdigest())
            for event in _events(folder)
            for value in event.summary.value
        ]
        times: dict[str, int] = {}
        for tag, _ in seen:
            times[tag] = times.get(tag, 0) + 1
        summaries = []
        for picture in pictures:
            tag = f"figures/{picture.name}"
            if (tag, hashlib.sha256(picture.png).hexdigest()) not in seen:
                width, height = struct.unpack(">II", picture.png[16:24])
                image = Summary.Image(encoded_image_string=picture.png, width=width, height=height, colorspace=4)
                summaries.append((None, times.get(tag, 0), Summary(value=[Summary.Value(tag=tag, image=image)])))
        if summaries:
            self._write(folder, summaries)

    def _write(self, folder: Path, summaries: Sequence[tuple[float | None, int, Any]]) -> None:
        """Writes a new event file with ``summaries``: time, step and contents."""
        import time

        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(folder), filename_suffix=f".{len(list(folder.glob('*'))):06d}")
        for at, step, summary in summaries:
            writer.add_event(Event(wall_time=time.time() if at is None else at, step=step, summary=summary))
        writer.close()


def _hyperparameters(facts: Mapping[str, Any]) -> Any:
    """The plain values of a run's settings, for TensorBoard's table of hyperparameters."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    session = SessionStartInfo()
    for key, value in facts.items():
        if isinstance(value, bool):
            session.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            session.hparams[key].number_value = value
        elif isinstance(value, str) and value:
            session.hparams[key].string_value = value
    contents = HParamsPluginData(session_start_info=session, version=0).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=contents)
    metadata = SummaryMetadata(plugin_data=plugin)
    return Summary(value=[Summary.Value(tag="_hparams_/session_start_info", metadata=metadata)])


def _events(folder: Path) -> Iterator[Any]:
    """All events in a folder, in the order in which they were written."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for path in sorted(folder.glob("events.out.tfevents.*")):
        yield from LegacyEventFileLoader(str(path)).Load()
