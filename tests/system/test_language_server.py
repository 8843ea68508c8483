"""`lamina lsp` as an editor talks to it: messages over standard input and output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

TEXT = 'FROM scratch AS Tools\nLABEL x="\U0001f600" y=1\nMAINTAINER me\n'


class Editor:
    """Speaks the protocol's base: headers, then JSON."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to: IO[bytes] = process.stdin
        self._from: IO[bytes] = process.stdout
        self._number = 0

    def notify(self, method: str, params: object) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, params: object) -> Any:  # noqa: ANN401 - JSON
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            answer = self.receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def diagnostics(self) -> list[dict[str, Any]]:
        """The next diagnostics that the server publishes."""
        while True:
            message = self.receive()
            if message.get("method") == "textDocument/publishDiagnostics":
                found: list[dict[str, Any]] = message["params"]["diagnostics"]
                return found

    def receive(self) -> dict[str, Any]:
        length = 0
        while (line := self._from.readline().strip()) or not length:
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
            assert line or length, "the server has gone away"
        answer: dict[str, Any] = json.loads(self._from.read(length))
        return answer

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        self._to.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._to.flush()


@pytest.fixture
def editor(tmp_path: Path) -> Iterator[Editor]:
    program = Path(sys.executable).with_name("lamina")
    process = subprocess.Popen(
        [program, "lsp", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    )
    editor = Editor(process)
    try:
        editor.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        editor.notify("initialized", {})
        yield editor
        editor.ask("shutdown", None)
        editor.notify("exit", None)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()


def open_document(editor: Editor, folder: Path, text: str = TEXT) -> str:
    uri = (folder / "Dockerfile").as_uri()
    item = {"uri": uri, "languageId": "dockerfile", "version": 1, "text": text}
    editor.notify("textDocument/didOpen", {"textDocument": item})
    return uri


def test_findings_come_while_the_file_is_edited(editor: Editor, tmp_path: Path) -> None:
    """What is wrong is shown when the file is opened, and goes when it is mended."""
    uri = open_document(editor, tmp_path)
    found = {each["code"]: each for each in editor.diagnostics()}
    assert {"StageNameCasing", "MaintainerDeprecated"} <= found.keys()
    assert found["MaintainerDeprecated"]["range"]["start"]["line"] == 2
    whole = {"text": "FROM scratch AS tools\n"}
    document = {"uri": uri, "version": 2}
    editor.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [whole]})
    codes = [each["code"] for each in editor.diagnostics()]
    assert "StageNameCasing" not in codes


def test_a_fix_is_a_code_action(editor: Editor, tmp_path: Path) -> None:
    """A finding's fix is offered at its place, and all safe ones at once."""
    uri = open_document(editor, tmp_path)
    editor.diagnostics()
    start = {"line": 0, "character": 0}
    actions = editor.ask(
        "textDocument/codeAction",
        {
            "textDocument": {"uri": uri},
            "range": {"start": start, "end": start},
            "context": {"diagnostics": []},
        },
    )
    kinds = {action["kind"] for action in actions}
    assert {"quickfix", "source.fixAll.lamina"} <= kinds
    (whole,) = [action for action in actions if action["kind"] == "source.fixAll.lamina"]
    (edit,) = whole["edit"]["changes"][uri]
    assert "FROM scratch AS tools\n" in edit["newText"]


def test_a_rule_explains_itself(editor: Editor, tmp_path: Path) -> None:
    """Hovering shows the rule's documentation."""
    uri = open_document(editor, tmp_path)
    editor.diagnostics()
    hover = editor.ask(
        "textDocument/hover",
        {"textDocument": {"uri": uri}, "position": {"line": 2, "character": 3}},
    )
    assert "MAINTAINER" in hover["contents"]["value"]


def test_an_error_of_syntax_is_shown(editor: Editor, tmp_path: Path) -> None:
    """Whoever is still typing sees where the file cannot be understood."""
    open_document(editor, tmp_path, "FROM scratch\nRUNN make\n")
    (error,) = [each for each in editor.diagnostics() if each["severity"] == 1]
    assert "unknown instruction" in error["message"]
    assert error["range"]["start"] == {"line": 1, "character": 0}
