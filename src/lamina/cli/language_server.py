"""The language server: an editor's requests → control → what the editor shows.

A document is checked when it is opened, changed and saved, with the build context that it lies in.
"""

from __future__ import annotations

import logging
from typing import BinaryIO

from lsprotocol import types
from msgspec.structs import replace
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from lamina import __version__
from lamina.advisor.checking import Report, check_project
from lamina.advisor.fixing import fix_project
from lamina.advisor.rule import Rule
from lamina.control.check import ProjectPlace, known_rules, project_around
from lamina.source import SourceFile
from lamina.ui import language_server as ui


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Serves one editor until it says goodbye."""
    logging.getLogger("pygls").setLevel(logging.CRITICAL)  # it logs to the editor's error stream
    make_server().start_io(stdin, stdout)


def make_server() -> LanguageServer:
    """The server with its features, which pygls wants to be functions."""
    server = LanguageServer("lamina", __version__)
    documents = _Documents(server)

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        documents.check(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        documents.check(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        documents.check(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        documents.forget(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(params: types.HoverParams) -> types.Hover | None:
        return documents.documentation(params.text_document.uri, params.position)

    kinds = [types.CodeActionKind.QuickFix, ui.FIX_ALL]

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=kinds)
    )
    def actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        return documents.actions(params)

    return server


class _Documents:
    """The documents that the editor has open, as they were checked last."""

    def __init__(self, server: LanguageServer) -> None:
        self._server = server
        self._rules = known_rules()
        self._by_name: dict[str, Rule] = {rule.name: rule for rule in self._rules}
        self._checked: dict[str, tuple[ProjectPlace, Report]] = {}

    def check(self, uri: str) -> None:
        """Checks a document as it is in the editor now, and shows what was found."""
        document = self._server.workspace.get_text_document(uri)
        place = project_around(to_fs_path(uri) or document.filename or "Dockerfile")
        file = SourceFile(place.sources.dockerfile.name, document.source)
        place = replace(place, sources=replace(place.sources, dockerfile=file))
        report = check_project(place.read(place.sources), self._rules)
        self._checked[uri] = place, report
        self._publish(uri, ui.diagnostics(report, file, self._by_name), document.version)

    def forget(self, uri: str) -> None:
        self._checked.pop(uri, None)
        self._publish(uri, [], None)

    def documentation(self, uri: str, at: types.Position) -> types.Hover | None:
        if uri not in self._checked:
            return None
        place, report = self._checked[uri]
        return ui.documentation(report, place.sources.dockerfile, at, self._by_name)

    def actions(self, params: types.CodeActionParams) -> list[types.CodeAction]:
        uri = params.text_document.uri
        found = self._checked.get(uri)
        if found is None:
            return []
        place, report = found
        only = tuple(params.context.only or ())
        offered: list[types.CodeAction] = []
        if _asked(types.CodeActionKind.QuickFix, only):
            offered += ui.actions(report, place.sources.dockerfile, params.range, uri)
        if _asked(ui.FIX_ALL, only):
            fixed = fix_project(place.sources, self._rules, read=place.read)
            whole = ui.fix_all(fixed, uri)
            offered += [] if whole is None else [whole]
        return offered

    def _publish(self, uri: str, found: list[types.Diagnostic], version: int | None) -> None:
        params = types.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version)
        self._server.text_document_publish_diagnostics(params)


def _asked(kind: str, only: tuple[str, ...]) -> bool:
    """Whether an editor that wants only some kinds of action wants this one."""
    return not only or any(kind == each or kind.startswith(f"{each}.") for each in only)
