"""The sink that writes JSON lines into a file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from etlcore.batch import Batch
from etlcore.builtin.appender import Appender
from etlcore.builtin.jsonlines import to_lines
from etlcore.builtin.options import Options
from etlcore.components import Context, Sink


class FilesSink(Sink):
    """Writes each row as one line of JSON into a file; a batch counts as written once it is on the disk.

    Several workers write a file each: put ``{worker}`` into the path. A crash or a full disk leaves no torn line: what
    was begun is cut off again, at once or by the next run.
    """

    class Config(Options):
        path: str = Field(
            min_length=1,
            description="The file, relative to the pipeline file; missing directories are made. {worker} in it stands "
            "for the worker's number, from 0.",
        )
        mode: Literal["append", "overwrite"] = Field(
            "append",
            description="Go on behind what the file holds, or empty it at every start, with the rows of earlier runs.",
        )

    config: Config
    _appender: Appender | None = None

    def open(self, context: Context) -> None:
        name = self.config.path.replace("{worker}", str(context.worker))
        if context.workers > 1 and name == self.config.path:
            raise ValueError(
                f"{context.workers} workers cannot share the file {name}: put {{worker}} into the path, "
                "or set workers: 1"
            )
        self._appender = Appender(context.directory / name, log=context.log)
        self._appender.open(empty=self.config.mode == "overwrite")

    def write(self, batch: Batch) -> None:
        assert self._appender is not None
        if len(batch):
            self._appender.append(to_lines(batch.rows))

    def close(self) -> None:
        if self._appender is not None:
            self._appender.close()
