"""A client of the YAML language server that editors use, over its standard input and output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def program() -> str | None:
    """The server: ``$YAML_LANGUAGE_SERVER``, or what is on the path."""
    return os.environ.get("YAML_LANGUAGE_SERVER") or shutil.which("yaml-language-server")


class LanguageServer:
    """Speaks the Language Server Protocol 3.17: each message is JSON behind a Content-Length header."""

    def __init__(self, process: subprocess.Popen[bytes], schema: Path) -> None:
        self._process = process
        self._number = 0
        self._schemas = {schema.as_uri(): "*.yaml"}
        self._request("initialize", processId=os.getpid(), rootUri=None, capabilities={})
        self._send(method="initialized", params={})
        settings = {"yaml": self._settings()}
        self._send(method="workspace/didChangeConfiguration", params={"settings": settings})

    def _settings(self) -> dict[str, Any]:
        return {"schemas": self._schemas, "validate": True, "schemaStore": {"enable": False}, "yamlVersion": "1.2"}

    def diagnostics(self, name: str, text: str) -> list[str]:
        """What an editor underlines in a document: messages with their lines, from 1."""
        uri = self._open(name, text)
        while True:
            message = self._receive()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                return [
                    f"{it['range']['start']['line'] + 1}: {it['message']}" for it in message["params"]["diagnostics"]
                ]

    def completions(self, name: str, text: str, line: int, column: int) -> list[str]:
        """What an editor offers at a place (line and column from 1)."""
        uri = self._open(name, text)
        position = {"line": line - 1, "character": column - 1}
        found = self._request("textDocument/completion", textDocument={"uri": uri}, position=position)
        return [item["label"] for item in found["items"]]

    def _open(self, name: str, text: str) -> str:
        uri = f"file:///pipelines/{name}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        return uri

    def _request(self, method: str, **params: Any) -> Any:
        self._number += 1
        number = self._number
        self._send(id=number, method=method, params=params)
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                return message["result"]

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """The next message; what the server asks of an editor is answered first."""
        stream = self._process.stdout
        assert stream is not None
        length = 0
        while (line := stream.readline().strip()) or not length:
            assert line or length or self._process.poll() is None, "the language server has ended"
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(stream.read(length))
        if message.get("method") == "workspace/configuration":
            wanted = [item.get("section") for item in message["params"]["items"]]
            result = [self._settings() if section == "yaml" else None for section in wanted]
            self._send(id=message["id"], result=result)
        elif "id" in message and "method" in message:
            self._send(id=message["id"], result=None)
        return message


@contextmanager
def started(schema: Path) -> Iterator[LanguageServer]:
    """A server that knows the schema."""
    found = program()
    assert found is not None
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            [found, "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": home},
        ) as process,
    ):
        try:
            yield LanguageServer(process, schema)
        finally:
            process.kill()
