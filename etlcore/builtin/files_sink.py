"""The sink that writes JSON lines into a file, or into the files of a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from etlcore.batch import Batch
from etlcore.builtin.appender import Appender, AppendError
from etlcore.builtin.files_directory import Directory, Rolling
from etlcore.builtin.files_partitions import split
from etlcore.builtin.files_staged import STAGING, Compression, recover
from etlcore.builtin.jsonlines import to_lines
from etlcore.builtin.options import Options
from etlcore.builtin.places import check_directory, check_writable
from etlcore.components import Context, RowsFailed, Sink

_OF_DIRECTORIES = ("roll_bytes", "roll_seconds", "partition_by", "compression", "max_open")


class FilesSink(Sink):
    """Writes each row as one line of JSON into a file; a batch counts as written once it is on the disk.

    With a ``path`` that ends in ``/`` it publishes files in that directory: each appears at once, whole, when it is
    done. Several workers of one file need ``{worker}`` in the path. A crash or a full disk leaves no torn line, and
    what a crash leaves unpublished is published by the next run.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 100, fields: {id: "{id}", day: "{choice:monday|tuesday}"}}}
          out:
            sink: files
            with: {path: days/, partition_by: [day], compression: gzip}  # days/day=monday/….jsonl.gz
    """

    class Config(Options):
        path: str = Field(
            min_length=1,
            description="The file, relative to the pipeline file; or, with a / at its end, a directory to publish "
            "files in. Missing directories are made. {worker} in it stands for the worker's number, from 0.",
        )
        mode: Literal["append", "overwrite"] = Field(
            "append",
            description="Go on behind what the file holds, or empty it at every start, with the rows of earlier runs.",
        )
        roll_bytes: int | None = Field(
            128 * 1024 * 1024,
            ge=1,
            description="Of a directory: a file is published once it holds so many bytes, before compression; null for "
            "no such limit.",
        )
        roll_seconds: float | None = Field(
            None,
            gt=0,
            allow_inf_nan=False,
            description="Of a directory: a file is published so many seconds after its first row; null for no such "
            "limit. At the end of the run all are.",
        )
        partition_by: list[str] = Field(
            [],
            description="Of a directory: columns whose values name the directories below it, as col=value/. The "
            "columns stay in the rows.",
        )
        compression: Compression = Field("none", description="Of a directory: what its files are compressed with.")
        max_open: int = Field(
            64,
            ge=1,
            description="Of a directory: how many files a worker has open at most, one for each partition; beyond it "
            "the one that was written to longest ago is published.",
        )

        @field_validator("partition_by")
        @classmethod
        def _named_once(cls, columns: list[str]) -> list[str]:
            if not all(columns) or len(set(columns)) < len(columns):
                raise ValueError("a column is empty or listed twice: name each column once")
            return columns

        @model_validator(mode="after")
        def _fitting(self) -> Self:
            if self.is_directory and self.mode == "overwrite":
                raise ValueError(f"{self.path} is a directory, which is never emptied: remove mode, or name a file")
            given = [name for name in _OF_DIRECTORIES if name in self.model_fields_set]
            if given and not self.is_directory:
                raise ValueError(f"{given[0]} is for directories: write path: {self.path}/, or remove {given[0]}")
            return self

        @property
        def is_directory(self) -> bool:
            return self.path.endswith("/")

    config: Config
    _appender: Appender | None = None
    _directory: Directory | None = None

    def open(self, context: Context) -> None:
        path = self.config.path.replace("{worker}", str(context.worker))
        if self.config.is_directory:
            self._open_directory(context, context.directory / path)
            return
        if context.workers > 1 and path == self.config.path:
            raise ValueError(
                f"{context.workers} workers cannot share the file {path}: put {{worker}} into the path, "
                "or set workers: 1"
            )
        self._appender = Appender(context.directory / path, log=context.log)
        self._appender.open(empty=self.config.mode == "overwrite")

    def probe(self) -> None:
        path = self.context.directory / self.config.path.replace("{worker}", "0")
        if self.config.is_directory:
            check_directory(path)
        else:
            check_writable(path)

    def write(self, batch: Batch) -> None:
        if not len(batch):
            return
        if self._directory is not None:
            self._write_to_directory(self._directory, batch)
            return
        assert self._appender is not None
        self._appender.append(to_lines(batch.rows))

    def close(self) -> None:
        if self._appender is not None:
            self._appender.close()
        if self._directory is not None:
            self._directory.close()

    def _open_directory(self, context: Context, target: Path) -> None:
        if target.exists() and not target.is_dir():
            raise AppendError(f"{target} is a file: remove the / at the end of path, or name a directory")
        config = self.config
        owner = f"{context.pipeline}.{context.stage}"
        for left in sorted((target / STAGING).glob("*")):  # also of workers that the stage had once
            name, _, worker = left.name.rpartition(".")
            if name == owner and worker.isdecimal() and int(worker) % context.workers == context.worker:
                for file in recover(left, target, config.compression):
                    context.log.info("published %s, which an earlier run has left unfinished", file)
        self._directory = Directory(
            target,
            target / STAGING / f"{owner}.{context.worker}",
            f"{owner}.{context.worker}",
            Rolling(config.roll_bytes, config.roll_seconds, config.max_open),
            config.compression,
            log=context.log,
        )

    def _write_to_directory(self, directory: Directory, batch: Batch) -> None:
        rows = batch.rows
        groups, failed = split(rows, self.config.partition_by)
        final = True
        pieces = [(partition, indices, to_lines([rows[i] for i in indices])) for partition, indices in groups.items()]
        for partition, indices, lines in pieces:
            try:
                directory.append(partition, lines)
            except AppendError as error:
                if len(failed) == 0 and len(pieces) == 1:
                    raise
                failed.update(dict.fromkeys(indices, str(error)))
                final = False  # there may be room on the disk again later
        if failed:
            raise RowsFailed(failed, final=final)
