"""A rule: its documentation, and what finds the places that break it.

A rule is a module of `lamina.advisor.rules`. Its docstring is its documentation, in Markdown with
front matter, and its test: what stands under **Incorrect** must be found, what stands under
**Correct** must not, and the rule's fix makes the one from the other.

    \"\"\"---
    title: Copy the manifests before the source
    impact: HIGH
    impactDescription: installs run again for every change of any file
    tags: layer-order, npm
    ---

    Why it matters, in a paragraph or two.

    **Incorrect (what is wrong):**

    ```dockerfile
    …
    ```

    **Correct (what is better):**

    ```dockerfile
    …
    ```
    \"\"\"

    def check(project: Project) -> Iterator[Finding]: ...

Front matter may also have `name`, `url`, `experimental: true` and `skip: file` (see Rule).

A fence with a name (` ```dockerignore `, ` ```yaml .github/workflows/build.yml `, ` ```files `: one
path a line, with its size) gives an example the files around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from lamina.advisor.finding import Finding, Impact

if TYPE_CHECKING:
    from lamina.advisor.project import Project

Check = Callable[["Project"], Iterator[Finding]]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A heading of the documentation with its fences: language or path → text."""

    title: str
    files: tuple[tuple[str, str], ...]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, read from its module. `name` is the module's, with hyphens, or Docker's own name.

    `docker`: it is one of Docker's build checks, whose title is Docker's description. `url` is
    where its publisher explains it. An `experimental` one is looked at only on request. What
    judges the `whole_file` cannot be skipped for one instruction.
    """

    name: str
    title: str
    impact: Impact
    impact_description: str
    tags: tuple[str, ...]
    documentation: str
    incorrect: tuple[Example, ...]
    correct: tuple[Example, ...]
    check: Check
    url: str = ""
    experimental: bool = False
    whole_file: bool = False

    @property
    def docker(self) -> bool:
        return "docker" in self.tags
