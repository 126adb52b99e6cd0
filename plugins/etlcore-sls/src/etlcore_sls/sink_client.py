"""The calls that the sink makes, on the official SDK's `LogClient` (see `etlcore_sls.sdk`)."""

from __future__ import annotations

from aliyun.log.compress import Compressor, CompressType

from etlcore_sls.connection import ConnectionConfig
from etlcore_sls.credentials import Provider
from etlcore_sls.endpoint import Endpoint
from etlcore_sls.sdk import LogstoreClient

_TYPES = {"lz4": CompressType.LZ4, "zstd": CompressType.ZSTD, "none": CompressType.UNCOMPRESSED}


class PutClient(LogstoreClient):
    """One logstore to write to. Methods raise `SlsError`; `SlsFailure` for unusable credentials."""

    def __init__(
        self, connection: ConnectionConfig, endpoint: Endpoint, provider: Provider, seconds: float | None = None
    ) -> None:
        super().__init__(connection, endpoint, provider, seconds)
        self._compression = _TYPES[connection.compression]

    def put(self, group: bytes, key: str | None) -> None:
        """Write one LogGroup, given as protobuf, to the shard of a hash key or (None) to whichever.

        The SDK's own ``put_log_raw`` knows neither zstd nor hash keys, and its ``put_logs`` makes up a source where
        there is none; so this does what they do, for a group as it is.
        """
        self._call(self._put, group, key)

    def _put(self, group: bytes, key: str | None) -> None:
        project, logstore = self._logstore
        headers = {"x-log-bodyrawsize": str(len(group)), "Content-Type": "application/x-protobuf"}
        if self._compression is not CompressType.UNCOMPRESSED:
            headers["x-log-compresstype"] = str(self._compression)
        body = Compressor.compress(group, self._compression)
        path = f"/logstores/{logstore}/shards/{'lb' if key is None else 'route'}"
        self._sdk._send("POST", project, body, path, {} if key is None else {"key": key}, headers)
