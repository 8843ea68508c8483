"""The reference implementation's own small cases: parsing, expansion, instructions, ignoring.

Each case holds an input and what the reference answered. They stand in a folder outside of this
repository, named by the variable LAMINA_CONFORMANCE. The functions here only bring Lamina's
answers into the form in which the cases state theirs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.dockerfile.directives import find_directive, find_syntax, first_word
from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.git_ref import parse_git_ref
from lamina.dockerfile.heredoc import Heredoc, find_heredocs, parse_heredoc
from lamina.dockerfile.ignore_matcher import IgnoreMatcher
from lamina.dockerfile.ignore_pattern import clean_path
from lamina.dockerfile.ignorefile import read_ignore_lines
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.mount import MountFlag
from lamina.dockerfile.instructions.parse import parse, parse_instruction
from lamina.dockerfile.json_form import parse_json_strings
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.problems import GitReferenceError
from lamina.dockerfile.syntax import Instruction, Syntax
from lamina.dockerfile.words import parse_pairs, split_words
from lamina.errors import UserError
from lamina.notation.gostrings import quote
from lamina.source import SourceFile, Span

Case = dict[str, Any]

_FOLDER = os.environ.get("LAMINA_CONFORMANCE")
_OURS = (
    "git_ref",
    "ignorefile_read",
    "instruction_single",
    "instructions_whole",
    "parser_directive",
    "parser_heredoc_word",
    "parser_heredocs_line",
    "parser_more",
    "parser_parse_json",
    "parser_parse_name_val",
    "parser_parse_words",
    "parser_testfiles",
    "parser_testfiles_negative",
    "patternmatcher",
    "shell_lex",
)
_KEYWORDS = frozenset(
    (
        *("add", "arg", "cmd", "copy", "entrypoint", "env", "expose", "from", "healthcheck"),
        *("label", "maintainer", "onbuild", "run", "shell", "stopsignal", "user", "volume"),
        "workdir",
    )
)


def _cases() -> list[Any]:
    if _FOLDER is None:
        reason = "NO CONFORMANCE CASES WERE RUN: LAMINA_CONFORMANCE names no folder"
        return [pytest.param("none", {}, marks=pytest.mark.skip(reason=reason))]
    units = Path(_FOLDER) / "units"
    return [
        pytest.param(name, case, id=f"{name}-{number}")
        for name in _OURS
        for number, case in enumerate(json.loads((units / f"{name}.json").read_text()))
    ]


@pytest.mark.parametrize(("name", "case"), _cases())
def test_answer_is_the_reference_s(name: str, case: Case) -> None:
    """Lamina answers every case as the reference does, or fails with the same words."""
    expected_error = case.get("error", case.get("expected_error"))
    answer = _ANSWERS[name]
    if expected_error is None:
        given, expected = answer(case)
        assert given == expected
        return
    with pytest.raises(UserError) as caught:
        answer(case)
    assert caught.value.message == expected_error
    if isinstance(caught.value, GitReferenceError):
        assert caught.value.is_git == case["is_git"]


def test_every_file_of_cases_is_known() -> None:
    """A new kind of case must be answered here, or named as somebody else's."""
    if _FOLDER is None:
        pytest.skip("LAMINA_CONFORMANCE names no folder")
    elsewhere = {"dockerfile2llb_convert"}
    assert {path.stem for path in (Path(_FOLDER) / "units").glob("*.json")} <= {*_OURS, *elsewhere}


Answer = tuple[object, object]


def _source(text: str) -> SourceFile:
    return SourceFile("Dockerfile", text)


def _git_ref(case: Case) -> Answer:
    ref = parse_git_ref(case["input"])
    given = {
        "Remote": ref.remote,
        "ShortName": ref.short_name,
        "Ref": ref.ref,
        "Checksum": ref.checksum,
        "SubDir": ref.subdir,
        "IndistinguishableFromLocal": ref.like_local,
        "UnencryptedTCP": ref.unencrypted,
        "KeepGitDir": ref.keep_git_dir,
        "Submodules": ref.submodules,
        "MTime": ref.mtime,
        "FetchByCommit": ref.fetch_by_commit,
    }
    return (given, True), (case["result"], case["is_git"])


def _ignorefile_read(case: Case) -> Answer:
    lines = read_ignore_lines(_source(case["input"] or ""))
    return [line.pattern for line in lines], case["expected"]


def _patternmatcher(case: Case) -> Answer:
    matcher = IgnoreMatcher.of(case["patterns"])
    match case["fn"]:
        case "New":
            texts = ["!" * p.exclusion + p.text for p in matcher.patterns]
            given: object = (texts, matcher.has_exclusions)
            return given, (case["cleaned"], case["has_exclusions"])
        case "Matches":
            path = clean_path(case["path"])
            return path != "." and matcher.matches(path), case["expected"]
        case "PatternMatcher.Matches":
            return matcher.matches(case["path"]), case["expected"]
        case "MatchesOrParentMatches":
            path = clean_path(case["path"])
            return path != "." and matcher.matches_or_parent_matches(path), case["expected"]
        case "PatternMatcher.MatchesOrParentMatches":
            return matcher.matches_or_parent_matches(case["path"]), case["expected"]
        case "PatternMatcher.MatchesUsingParentResult":
            given = matcher.matches_using_parent_result(
                case["path"], parent_matched=case["parent_matched"]
            )
            return given, case["expected"]
        case "PatternMatcher.MatchesUsingParentResults":
            parent = case["parent_matched"]
            matched, flags = matcher.matches_using_parent_results(
                case["path"], None if parent is None else tuple(parent)
            )
            return (matched, list(flags)), (case["expected"], case["result_matched"])
    raise AssertionError(f"unknown function {case['fn']}")


def _parser_directive(case: Case) -> Answer:
    key, text = case["key"], case["dockerfile"]
    directive = find_syntax(text) if key == "syntax" else find_directive(key, text)
    expected = (case["found"], case["value"], case["cmdline"], case["at_line"])
    if directive is None:
        return (False, "", "", None), expected
    given = (True, first_word(directive.value), directive.value, directive.line)
    return given, expected


def _heredoc(heredoc: Heredoc | None) -> Case | None:
    if heredoc is None:
        return None
    return {
        "chomp": heredoc.chomp,
        "expand": heredoc.expand,
        "fd": heredoc.file_descriptor,
        "name": heredoc.name,
    }


def _heredoc_word(case: Case) -> Answer:
    return _heredoc(parse_heredoc(case["input"])), case["result"]


def _heredocs_line(case: Case) -> Answer:
    return [_heredoc(heredoc) for heredoc in find_heredocs(case["input"])], case["result"]


def _parse_json(case: Case) -> Answer:
    strings = parse_json_strings(case["input"])
    return None if strings is None else list(strings), case["words"]


def _parse_name_val(case: Case) -> Answer:
    pairs = parse_pairs(case["input"], keyword=case["key"], escape="\\")
    return [part for pair in pairs for part in pair], case["words"]


def _parse_words(case: Case) -> Answer:
    return list(split_words(case["input"], escape="\\")), case["words"]


def _args(node: Instruction) -> list[Any]:
    """The arguments as the cases have them: unknown instructions have one, which is empty."""
    if node.inner is not None:
        return [{"children": [_node(node.inner, inner=True)], "value": ""}]
    return list(node.args) if node.name in _KEYWORDS else [""]


def _node(node: Instruction, *, inner: bool = False) -> Case:
    heredocs = [{**(_heredoc(doc) or {}), "content": doc.content} for doc in node.heredocs]
    made = {
        "value": node.keyword,
        "original": node.original,
        "next": _args(node),
        "flags": list(node.flags),
        "heredocs": heredocs,
        "json": node.json,
        "lines": [] if inner else [node.span.line, node.span.end_line],
        "prev_comment": list(node.comments),
    }
    return {key: value for key, value in made.items() if value or key in ("value", "original")}


def _tree(syntax: Syntax) -> Case:
    children = [_node(node) for node in syntax.instructions]
    lines = [children[0]["lines"][0], children[-1]["lines"][1]]
    return {"children": children, "lines": lines, "value": ""}


def _dump(node: Instruction) -> str:
    words = [node.name]
    if node.flags:
        words.append(f"[{' '.join(map(quote, node.flags))}]")
    if node.inner is not None:
        words.append(f"({_dump(node.inner)})")
    else:
        words += map(quote, _args(node))
    return " ".join(words)


def _whole_text(case: Case) -> Answer:
    """Also: what was read can be written back."""
    syntax = parse_syntax(_source(case["dockerfile"]))
    assert syntax.text == case["dockerfile"]
    given = {
        "ast": _tree(syntax),
        "escape": syntax.escape,
        "warnings": [
            {"lines": [w.span.line, w.span.end_line], "short": w.message, "url": w.url}
            for w in syntax.warnings
        ],
        "dump": "\n".join(f"({_dump(node)})" for node in syntax.instructions),
    }
    expected = {key: case[key] for key in ("ast", "escape", "warnings")}
    dump = case["dump"] if "dump" in case else case["expected_dump"]
    # The reference breaks lines behind triggers, and not everywhere.
    given["dump"], expected["dump"] = ("".join(str(d).split()) for d in (given["dump"], dump))
    return given, expected


def _built(ast: Case) -> Instruction:
    """The syntax node that a case describes; line numbers become a text with that many lines."""
    first, last = ast.get("lines", [1, 1])
    span = Span(_source("x\n" * last), 2 * (first - 1), 2 * last)
    words = ast.get("next", [])
    inner = None
    if words and isinstance(words[0], dict):
        inner, words = _built(words[0]["children"][0]), []
    return Instruction(
        span=span,
        keyword=ast["value"],
        original=ast.get("original", ""),
        args=tuple(words),
        flags=tuple(ast.get("flags", [])),
        json=ast.get("json", False),
        heredocs=tuple(
            Heredoc(
                name=doc["name"],
                file_descriptor=doc["fd"],
                expand=doc["expand"],
                chomp=doc["chomp"],
                content=doc["content"],
            )
            for doc in ast.get("heredocs", [])
        ),
        comments=tuple(ast.get("prev_comment", [])),
        inner=inner,
    )


def _transfer(command: c.AddCommand | c.CopyCommand) -> Case:
    return {
        "chmod": command.chmod,
        "chown": command.chown,
        "dest": command.dest,
        "exclude": list(command.exclude) or None,
        "heredocs": [
            {"data": file.data, "expand": file.expand, "name": file.path}
            for file in command.contents
        ],
        "link": command.link,
        "sources": list(command.sources),
    }


def _line(line: c.CommandLine) -> Case:
    return {
        "cmdline": list(line.words),
        "heredocs": [
            {"chomp": file.chomp, "data": file.data, "name": file.name} for file in line.files
        ],
        "shell_form": line.prepend_shell,
    }


def _mount(mount: MountFlag) -> Case:
    return {
        "CacheID": mount.id,
        "CacheSharing": mount.sharing or "",
        "Env": mount.env,
        "From": mount.from_,
        "GID": mount.gid,
        "Mode": mount.mode,
        "ReadOnly": mount.read_only,
        "Required": mount.required,
        "SizeLimit": mount.size,
        "Source": mount.source,
        "Target": mount.target,
        "Type": mount.type,
        "UID": mount.uid,
    }


def _health(health: c.Health) -> Case:
    made = {
        "Test": list(health.test),
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
        "Retries": health.retries,
    }
    return {key: value for key, value in made.items() if value}


def _pairs(pairs: tuple[c.KeyValue, ...]) -> list[Case]:
    return [{"key": p.key, "legacy": p.legacy, "value": p.value} for p in pairs]


def _fields(command: c.Command) -> Case:
    match command:
        case c.AddCommand():
            more = {
                "checksum": command.checksum,
                "keep_git_dir": command.keep_git_dir,
                "unpack": command.unpack,
            }
            return _transfer(command) | more
        case c.CopyCommand():
            return _transfer(command) | {"from": command.from_, "parents": command.parents}
        case c.RunCommand():
            expanded = command.expand(lambda word: word)
            return _line(command.line) | {
                "flags_used": sorted(command.flags_used),
                "mounts": [_mount(mount) for mount in expanded.mounts],
                "network": command.network,
                "security": command.security,
            }
        case c.CmdCommand() | c.EntrypointCommand():
            return _line(command.line)
        case c.HealthCheckCommand():
            return {"health": _health(command.health)}
        case c.EnvCommand():
            return {"pairs": _pairs(command.env)}
        case c.LabelCommand():
            return {"pairs": _pairs(command.labels)}
        case c.ArgCommand():
            return {
                "args": [
                    {"doc": arg.doc_comment, "key": arg.key, "value": arg.value}
                    for arg in command.args
                ]
            }
        case c.ExposeCommand():
            return {"ports": list(command.ports)}
        case c.VolumeCommand():
            return {"volumes": list(command.volumes)}
        case c.ShellCommand():
            return {"shell": list(command.shell)}
        case c.OnbuildCommand():
            return {"expression": command.expression}
        case c.MaintainerCommand():
            return {"maintainer": command.maintainer}
        case c.UserCommand():
            return {"user": command.user}
        case c.WorkdirCommand():
            return {"path": command.path}
        case c.StopSignalCommand():
            return {"signal": command.signal}


def _command(command: c.Command) -> Case:
    lines = [command.span.line, command.span.end_line]
    return {"instruction": command.keyword, "lines": lines} | _fields(command)


def _stage(stage: c.Stage) -> Case:
    return {
        "base": stage.base_name,
        "commands": [_command(command) for command in stage.commands],
        "doc": stage.doc_comment,
        "instruction": "from",
        "lines": [stage.span.line, stage.span.end_line],
        "name": stage.name,
        "platform": stage.platform,
    }


def _instruction_single(case: Case) -> Answer:
    parsed = parse_instruction(_built(case["ast"]))
    given = _stage(parsed) if isinstance(parsed, c.Stage) else _command(parsed)
    expected = dict(case["parsed"])
    if case["synthetic_ast"]:
        expected.pop("lines")
        given.pop("lines")
    return given, expected


def _instructions_whole(case: Case) -> Answer:
    stages, meta_args = parse(parse_syntax(_source(case["dockerfile"])))
    metas = [_command(arg) for arg in meta_args]
    for meta in metas:
        meta.pop("instruction")
    given = ([_stage(stage) for stage in stages], metas)
    return given, (case["stages"], case["meta_args"])


def _shell_lex(case: Case) -> Answer:
    lexer = Lexer(
        escape=case["escape"],
        raw_quotes=case["raw_quotes"],
        raw_escapes=case["raw_escapes"],
        skip_quotes=case["skip_process_quotes"],
        skip_unset=case["skip_unset_env"],
    )
    expansion = lexer.expand(case["input"], dict(case["env"]))
    if case["fn"] == "ProcessWords":
        return list(expansion.words), case["words"]
    given = (expansion.text, sorted(expansion.matched), sorted(expansion.unmatched))
    return given, (case["result"], case["matched"], case["unmatched"])


_ANSWERS: dict[str, Callable[[Case], Answer]] = {
    "git_ref": _git_ref,
    "ignorefile_read": _ignorefile_read,
    "instruction_single": _instruction_single,
    "instructions_whole": _instructions_whole,
    "parser_directive": _parser_directive,
    "parser_heredoc_word": _heredoc_word,
    "parser_heredocs_line": _heredocs_line,
    "parser_more": _whole_text,
    "parser_parse_json": _parse_json,
    "parser_parse_name_val": _parse_name_val,
    "parser_parse_words": _parse_words,
    "parser_testfiles": _whole_text,
    "parser_testfiles_negative": _whole_text,
    "patternmatcher": _patternmatcher,
    "shell_lex": _shell_lex,
}
