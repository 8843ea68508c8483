"""Causes of failed steps, from what is known of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.executor.spec import BindMount, OutOfMemory
from lamina.graph.ops import ExecOp
from lamina.oci.platform import Platform
from lamina.ops.diagnosis import Facts, diagnose
from lamina.ops.failed_tree import FailedTree
from lamina.ops.programs import elf_interpreter, elf_machine
from lamina.snapshot.store import LayerStore


def facts(root: Path, output: str, code: int = 1, script: str = "x", **others: object) -> Facts:
    """A step in the files of `root`."""
    op = ExecOp(
        args=("/bin/sh", "-c", script),
        env=(),
        cwd="/",
        user="",
        mounts=(),
        network="default",
        hostname="",
        extra_hosts=(),
        proxies=(),
        platform=Platform(architecture="amd64", os="linux"),
    )
    tree = FailedTree(LayerStore(str(root / "store")), (), BindMount(source=str(root), target="/"))
    known = {"complaint": "", "machine": "x86_64", "emulated": lambda machine: False, **others}
    return Facts(op=op, code=code, output=output, tree=tree, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        "/bin/sh: 1: grpe: not found",  # dash
        "/bin/sh: grpe: not found",  # busybox
        "/bin/bash: line 3: grpe: command not found",
        "/usr/bin/env: 'grpe': No such file or directory",
        "/usr/bin/env: \u2018grpe\u2019: No such file or directory",
        "env: can't execute 'grpe': No such file or directory",
        "make: grpe: No such file or directory\nmake: *** [Makefile:2: all] Error 127",
    ],
)
def test_a_missing_command_in_the_words_of_many_shells(tmp_path: Path, said: str) -> None:
    """The nearest one in PATH is offered."""
    for name in ("grep", "arp", "make"):
        path = tmp_path / "usr/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    found = diagnose(facts(tmp_path, f"starting\n{said}\n", 127))
    assert found == "the image has no grpe in PATH: did you mean grep?"


def test_a_script_for_windows_in_the_words_of_bash(tmp_path: Path) -> None:
    """Also where the shell has told of the interpreter that it did not find."""
    (tmp_path / "x.sh").write_bytes(b"#!/bin/sh\r\n")
    said = "/bin/bash: line 1: ./x.sh: /bin/sh^M: bad interpreter: No such file or directory"
    assert "Windows' line ends" in (diagnose(facts(tmp_path, said, 126)) or "")


def test_memory_comes_first(tmp_path: Path) -> None:
    """A killed compiler explains whatever make says of it."""
    text = diagnose(
        facts(
            tmp_path,
            "sh: x: not found",
            127,
            out_of_memory=OutOfMemory(process="cc1plus", used=1 << 30),
        )
    )
    assert "--jobs 1" in (text or "")


def test_apt_index_that_is_out_of_date(tmp_path: Path) -> None:
    """A package that is gone from the mirror is no news where the index was just fetched."""
    said = (
        "Err:1 http://mirror/debian bookworm/main amd64 x 1.2\n  404  Not Found [IP: 1.2.3.4 80]\n"
        "E: Failed to fetch http://mirror/x.deb  404  Not Found [IP: 1.2.3.4 80]\n"
    )
    stale = diagnose(facts(tmp_path, said, 100, "apt-get install -y x"))
    assert "comes from an earlier step and is out of date" in (stale or "")
    fresh = facts(tmp_path, said, 100, "apt-get -qq update && apt-get install -y x")
    assert diagnose(fresh) is None


def test_apk_without_index(tmp_path: Path) -> None:
    """Told only where there is none and none was asked for."""
    said = "ERROR: unable to select packages:\n  curl (no such package):\n    required by: world\n"
    assert "apk add --no-cache" in (diagnose(facts(tmp_path, said, 1, "apk add curl")) or "")
    assert diagnose(facts(tmp_path, said, 1, "apk add --no-cache curl")) is None
    cache = tmp_path / "var/cache/apk"
    cache.mkdir(parents=True)
    (cache / "APKINDEX.1.tar.gz").touch()
    assert diagnose(facts(tmp_path, said, 1, "apk add curl")) is None


def test_images_cannot_lead_outside(tmp_path: Path) -> None:
    """Symlinks of an image are followed inside it, circles end, and devices are not read."""
    (tmp_path / "etc").mkdir()
    os.symlink("/etc/passwd", tmp_path / "tool")
    os.symlink("loop", tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name in ("tool", "loop", "pipe"):
        assert diagnose(facts(tmp_path, f"/bin/sh: /{name}: Permission denied", 126)) is None
    tree = facts(tmp_path, "").tree
    assert tree.entry("/tool") is None
    assert tree.head("/pipe", 1) == b""
    assert tree.names("/loop") == []


@pytest.mark.parametrize("head", [b"", b"\x7fELF", b"\x7fELF\x02\x01", b"\x7fELF" + b"\xff" * 80])
def test_headers_cut_short(head: bytes) -> None:
    """They are no program for anything, and ask for nothing."""
    assert elf_interpreter(head) == ""
    elf_machine(head)
