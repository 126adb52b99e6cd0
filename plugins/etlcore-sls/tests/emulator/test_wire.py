"""Cursors and compressions."""

from __future__ import annotations

import lz4.block
import pytest
import zstd
from aliyun.log.compress import Compressor, CompressType
from etlcore_sls.wire.compression import DecompressionError, compress, decompress
from etlcore_sls.wire.cursor import decode_cursor, encode_cursor
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 2**63 - 1))
def test_a_cursor_is_base64_of_its_decimal_digits(value: int) -> None:
    assert decode_cursor(encode_cursor(value)) == value
    assert decode_cursor(encode_cursor(value) + "\n") == value


def test_a_real_looking_cursor() -> None:
    assert encode_cursor(1614750027373205714) == "MTYxNDc1MDAyNzM3MzIwNTcxNA=="


@pytest.mark.parametrize(
    "text", ["", "abc", "!!!!", "YWJj", "LTE=", "MS41", encode_cursor(2**63), "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA="]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        decode_cursor(text)


@pytest.mark.parametrize("kind", ["lz4", "zstd", "deflate", ""])
@given(data=st.one_of(st.binary(max_size=300), st.integers(300, 100_000).map(lambda size: b"log line " * size)))
def test_compressing_and_back(kind: str, data: bytes) -> None:
    assert decompress(compress(data, kind), kind, len(data)) == data


@pytest.mark.parametrize(("kind", "type_of_sdk"), [("lz4", CompressType.LZ4), ("zstd", CompressType.ZSTD)])
def test_the_sdk_and_we_understand_each_other(kind: str, type_of_sdk: CompressType) -> None:
    data = b"GET /index.html " * 1000
    assert Compressor.decompress(compress(data, kind), len(data), type_of_sdk) == data
    assert decompress(Compressor.compress(data, type_of_sdk), kind, len(data)) == data


@pytest.mark.parametrize("kind", ["lz4", "zstd", "deflate", ""])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_size_that_is_not_the_announced_one_is_refused(kind: str, difference: int) -> None:
    data = b"GET /index.html " * 100
    with pytest.raises(DecompressionError):
        decompress(compress(data, kind), kind, len(data) + difference)


@pytest.mark.parametrize("kind", ["lz4", "zstd", "deflate"])
def test_rubbish_is_refused(kind: str) -> None:
    with pytest.raises(DecompressionError):
        decompress(b"\xff\xfe rubbish", kind, 100)


def test_a_body_that_would_unpack_to_more_than_announced_is_refused_by_what_it_declares() -> None:
    bomb = b"\0" * 50_000_000
    with pytest.raises(DecompressionError, match="declares 50000000 bytes"):
        decompress(zstd.compress(bomb), "zstd", 10)
    with pytest.raises(DecompressionError):
        decompress(lz4.block.compress(bomb, store_size=False), "lz4", 10)


def test_an_unknown_compression_is_an_error() -> None:
    with pytest.raises(ValueError, match="gzip"):
        compress(b"", "gzip")
    with pytest.raises(ValueError, match="gzip"):
        decompress(b"", "gzip", 0)
