"""Reading who was killed for lack of memory from the kernel's log."""

from __future__ import annotations

from lamina.executor.oom import Kill, MemoryWatch, kill_count, parse_kills
from lamina.executor.spec import OutOfMemory

LIMIT = (
    "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    "oom_memcg=/jobs/lamina-1,task_memcg=/jobs/lamina-1,task=cc1plus,pid=42,uid=0"
)
KILLED = (
    "3,2,3,-;Memory cgroup out of memory: Killed process 42 (cc1plus) total-vm:9000000kB, "
    "anon-rss:8000000kB, file-rss:1000kB, shmem-rss:24kB, UID:0 pgtables:140kB oom_score_adj:0"
)
OLD = "3,2,3,-;Out of memory: Killed process 7 (a (b) c) total-vm:90kB, anon-rss:80kB"


def test_records() -> None:
    """Name, memory and group of each; names may hold anything; other records are passed over."""
    records = ["6,1,1,-;usb 1-1: new device", LIMIT, KILLED, OLD]
    used = (8_000_000 + 1000 + 24) << 10
    assert list(parse_kills(records)) == [
        Kill(name="cc1plus", used=used, group="/jobs/lamina-1"),
        Kill(name="a (b) c", used=80 << 10),
    ]


def test_a_step_that_was_not_short_of_memory() -> None:
    """Its own groups have counted nothing, or the whole machine has not: nothing is claimed."""
    watch = MemoryWatch()
    assert watch.explain(code=137, before=0, group="x", figures=(0, 9)) is None
    assert watch.explain(code=137, before=kill_count()) is None
    watch.close()


def test_without_the_log() -> None:
    """What the step's own groups have counted is told."""
    watch = MemoryWatch()
    watch.close()
    found = watch.explain(code=2, before=0, group="x", figures=(1, 64), limit=65)
    assert found == OutOfMemory(peak=64, limit=65)
