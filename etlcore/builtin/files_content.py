"""What is in a file: its bytes, or, of a gzip or zstd file, the bytes that were compressed."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

CHUNK = 1024 * 1024  # bytes read at once
_ZSTD = 64 * 1024  # bytes of a zstd file asked for at once: what may have to be read again, byte by byte

Compression = Literal["none", "gzip", "zstd"]

_MAGIC: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class ContentError(Exception):
    """A compressed file that cannot be read as one; the text says why."""


class CutOff(ContentError):
    """A compressed file ends in the middle: it is still being written, or was not written to its end."""


class Content:
    """An open file, read from its beginning to its end or, where it is not compressed, from anywhere.

    What it is, its first bytes say, whatever its name. Raises OSError.
    """

    def __init__(self, file: Path) -> None:
        self._file: BinaryIO = open(file, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        try:
            self.compression = self._compression()
            self._stream = self._opened()
        except BaseException:
            self._file.close()
            raise
        self.offset = 0
        """How many bytes were read; of a compressed file, of what is in it."""
        self._by_bytes = False

    def status(self) -> os.stat_result:
        """What the system knows about the file."""
        return os.fstat(self._file.fileno())

    def read(self, size: int = CHUNK) -> bytes:
        """Some bytes; none at the end. Raises ContentError."""
        data = self._read(size)
        self.offset += len(data)
        return data

    def read_exactly(self, size: int) -> bytes:
        """So many bytes, fewer only at the end. Raises ContentError."""
        parts = []
        while size > 0 and (part := self.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def skip_to(self, offset: int) -> bool:
        """Go to a byte, of a compressed file forward only; False when there are not so many. Raises ContentError."""
        if self.compression == "none":
            self._file.seek(offset)
            self.offset = offset
            return offset <= self.status().st_size
        while self.offset < offset and self.read(min(CHUNK, offset - self.offset)):
            pass
        return self.offset == offset

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Bytes of a file that is not compressed, from anywhere."""
        return os.pread(self._file.fileno(), size, offset)

    def sees_growth(self) -> bool:
        """What was found to be an empty file may have become a compressed one: False when this must be opened anew."""
        return self.compression != "none" or self.offset > 0 or self._compression() == "none"

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not self._file:
            self._stream.close()
        self._file.close()

    def _compression(self) -> Compression:
        begin = os.pread(self._file.fileno(), 4, 0)
        return next((name for magic, name in _MAGIC.items() if begin.startswith(magic)), "none")

    def _opened(self) -> Any:
        if self.compression == "gzip":
            return gzip.GzipFile(fileobj=self._file, mode="rb")
        if self.compression == "zstd":
            import pyarrow as pa

            return pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), "zstd")
        return self._file

    def _read(self, size: int) -> bytes:
        if self.compression == "none":
            return bytes(self._file.read(size))
        if self.compression == "gzip":
            return self._read_gzip(size)
        return self._read_zstd(size)

    def _read_gzip(self, size: int) -> bytes:
        try:
            return bytes(self._stream.read1(size))
        except EOFError:
            raise CutOff("the gzip data ends in the middle") from None
        except (OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ContentError(f"not gzip, or damaged: {error}") from None

    def _read_zstd(self, size: int) -> bytes:
        try:
            return bytes(self._stream.read(1 if self._by_bytes else min(size, _ZSTD)))
        except OSError as error:
            if error.errno is not None:
                raise
            if not self._by_bytes:
                return self._read_to_the_damage()
            if "runcated" in str(error):
                raise CutOff("the zstd data ends in the middle") from None
            raise ContentError(f"not zstd, or damaged: {error}") from None

    def _read_to_the_damage(self) -> bytes:
        """The reader gives nothing of a piece with something wrong in it: go there again, and read byte by byte."""
        self._file.seek(0)
        self._stream = self._opened()
        left = self.offset
        while left and (part := self._stream.read(min(CHUNK, left))):
            left -= len(part)
        self._by_bytes = True
        return self._read_zstd(1)
