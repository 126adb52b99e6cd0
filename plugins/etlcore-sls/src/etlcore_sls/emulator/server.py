"""The HTTP server: HTTP/1.1 with keep-alive, one thread a connection, each response in one write."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from etlcore_sls.emulator.calls import Reply, error_reply
from etlcore_sls.emulator.dispatch import handle, read_request
from etlcore_sls.emulator.errors import ApiError
from etlcore_sls.emulator.faults import ConnectionCut
from etlcore_sls.emulator.service import Service

_SLOW_STEPS_PER_SECOND = 20
_BODY_OVERHEAD = 1024 * 1024  # what a compressed body may be larger than its content


class Server(ThreadingHTTPServer):
    """Listens at once when made; ``serve_forever`` answers. Raises OSError when the address cannot be had."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        settings = service.settings
        if ":" in settings.host:
            self.address_family = socket.AF_INET6
        super().__init__((settings.host, settings.port), Handler)

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the host's name that the base class does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.service.settings.host, self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Close every open connection, idle ones too."""
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say so when a request failed; that a client went away in the middle is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 256 * 1024

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._read_body(headers)
            request = read_request(self.command, self.path, headers)
        except ApiError as error:
            self.close_connection = True
            self._send(error_reply(error))
            return
        try:
            reply = handle(self.server.service, request, body, self.client_address[0])
        except ConnectionCut:
            self.close_connection = True
            return
        self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def do_CONNECT(self) -> None:
        """Refuse to tunnel: as a proxy the emulator answers itself, and it speaks no TLS."""
        self.close_connection = True
        self._send(error_reply(ApiError(501, "InvalidURI", "the emulator speaks plain HTTP; use an http:// endpoint")))

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            raise ApiError(411, "MissingContentLength", "Content-Length does not exist in http header")
        text = headers.get("content-length", "0")
        if not text.isdigit():
            raise ApiError(400, "ParameterInvalid", f"Content-Length {text!r} is not a size")
        limit = self.server.service.settings.put_max_bytes + _BODY_OVERHEAD
        if int(text) > limit:
            raise ApiError(400, "PostBodyTooLarge", f"Body size {text} must be smaller than {limit}")
        body = self.rfile.read(int(text)) if text != "0" else b""
        if len(body) != int(text):
            raise ApiError(400, "PostBodyInvalid", "the connection ended within the body")
        return body

    def _send(self, reply: Reply) -> None:
        lines = [
            f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('Error',))[0]}",
            "Server: etlcore-sls-emulator",
            f"Date: {self.date_time_string(int(self.server.service.now()))}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {len(reply.body)}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if self.close_connection:
            lines.append("Connection: close")
        message = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if self.command != "HEAD":
            message += reply.body
        if reply.response_bytes is not None:
            message = message[: reply.response_bytes]
            self.close_connection = True
        with contextlib.suppress(ConnectionError):
            if reply.bytes_per_second:
                self._send_slowly(message, reply.bytes_per_second)
            else:
                self.connection.sendall(message)
            return
        self.close_connection = True

    def _send_slowly(self, message: bytes, bytes_per_second: int) -> None:
        step = max(1, bytes_per_second // _SLOW_STEPS_PER_SECOND)
        for start in range(0, len(message), step):
            self.connection.sendall(message[start : start + step])
            time.sleep(step / bytes_per_second)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the event log knows it all."""
