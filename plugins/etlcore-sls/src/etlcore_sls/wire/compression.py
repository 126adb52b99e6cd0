"""The compressions of SLS bodies: lz4 (a raw block with no size prefix), zstd (one frame) and deflate (zlib)."""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import Any

LZ4, ZSTD, DEFLATE = "lz4", "zstd", "deflate"
COMPRESSIONS = (LZ4, ZSTD, DEFLATE)


class DecompressionError(ValueError):
    """A body that is not what its headers say."""


def _lz4() -> Any:
    return import_module("lz4.block")


def _zstd() -> Any:
    return import_module("zstd")


def compress(data: bytes, kind: str) -> bytes:
    """Compress a body; ``kind`` is one of ``COMPRESSIONS``, or empty for none."""
    if not kind:
        return data
    if kind == LZ4:
        return bytes(_lz4().compress(data, store_size=False))
    if kind == ZSTD:
        return bytes(_zstd().compress(data, 1))
    if kind == DEFLATE:
        return zlib.compress(data, 1)
    raise ValueError(f"unknown compression {kind!r}")


def decompress(data: bytes, kind: str, raw_size: int) -> bytes:
    """Undo ``compress``; ``raw_size`` is the size in bytes of the result (header ``x-log-bodyrawsize``).

    Raises DecompressionError when the body does not decompress, or not to that size. Nothing larger than
    ``raw_size`` is ever allocated for lz4 and deflate, and zstd frames are refused by their declared size.
    """
    if not kind:
        result = data
    elif kind == LZ4:
        result = _decompress_lz4(data, raw_size)
    elif kind == ZSTD:
        result = _decompress_zstd(data, raw_size)
    elif kind == DEFLATE:
        result = _decompress_deflate(data, raw_size)
    else:
        raise ValueError(f"unknown compression {kind!r}")
    if len(result) != raw_size:
        raise DecompressionError(f"body holds {len(result)} bytes, x-log-bodyrawsize says {raw_size}")
    return result


def _decompress_lz4(data: bytes, raw_size: int) -> bytes:
    if raw_size == 0:
        return b""
    library = _lz4()
    try:
        return bytes(library.decompress(data, uncompressed_size=raw_size))
    except (library.LZ4BlockError, OverflowError, MemoryError, ValueError) as error:
        raise DecompressionError(f"body is not an lz4 block of {raw_size} bytes") from error


def _decompress_zstd(data: bytes, raw_size: int) -> bytes:
    library = _zstd()
    declared = _zstd_content_size(data)
    if declared is not None and declared != raw_size:
        raise DecompressionError(f"zstd frame declares {declared} bytes, x-log-bodyrawsize says {raw_size}")
    try:
        return bytes(library.decompress(data))
    except library.Error as error:
        raise DecompressionError("body is not a zstd frame") from error


def _zstd_content_size(data: bytes) -> int | None:
    """The size that a zstd frame header declares (RFC 8878, section 3.1.1.1), if it declares one."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = data[4]
    single_segment = bool(descriptor & 0x20)
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    if not size_bytes:
        return None
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(data[start : start + size_bytes], "little")
    return size + 256 if size_bytes == 2 else size


def _decompress_deflate(data: bytes, raw_size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, raw_size + 1)
    except zlib.error as error:
        raise DecompressionError("body is not a zlib stream") from error
