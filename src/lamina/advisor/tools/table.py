"""All tools, those for the same packages together."""

from __future__ import annotations

from lamina.advisor.tools.javascript import BUN, NPM, PNPM, YARN
from lamina.advisor.tools.native import CARGO, DOTNET, GO, GRADLE, MAVEN, MIX
from lamina.advisor.tools.python import CONDA, PDM, PIP, POETRY, UV
from lamina.advisor.tools.scripting import BUNDLER, COMPOSER, GEM
from lamina.advisor.tools.system import APK, APT, DNF

LANGUAGES = (
    *((APT,), (APK,), (DNF,)),
    (PIP, UV, POETRY, PDM, CONDA),
    (NPM, YARN, PNPM, BUN),
    *((GO,), (CARGO,), (MAVEN, GRADLE), (DOTNET,), (MIX,)),
    *((BUNDLER, GEM), (COMPOSER,)),
)
TOOLS = tuple(tool for language in LANGUAGES for tool in language)
