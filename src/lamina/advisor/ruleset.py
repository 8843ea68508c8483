"""All rules: the modules of `lamina.advisor.rules`, in the order of their names."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from lamina.advisor import rules
from lamina.advisor.documentation import read_rule
from lamina.advisor.rule import Rule
from lamina.errors import UserError
from lamina.notation.suggest import did_you_mean

# Docker's build checks: what `docker build --check` looks for.
_DOCKER = (
    "stage_name_casing",
    "from_as_casing",
    "no_empty_continuation",
    "consistent_instruction_casing",
    "duplicate_stage_name",
    "reserved_stage_name",
    "json_args_recommended",
    "maintainer_deprecated",
    "undefined_arg_in_from",
    "workdir_relative_path",
    "undefined_var",
    "multiple_instructions_disallowed",
    "legacy_key_value_format",
    "invalid_base_image_platform",
    "redundant_target_platform",
    "secrets_used_in_arg_or_env",
    "invalid_default_arg_in_from",
    "from_platform_flag_const_disallowed",
    "copy_ignored_file",
    "invalid_definition_description",
    "expose_proto_casing",
    "expose_invalid_format",
)


def all_rules() -> tuple[Rule, ...]:
    """Every rule there is."""
    names = sorted(info.name for info in pkgutil.iter_modules(rules.__path__))
    return tuple(_rule(name) for name in names)


def docker_rules() -> tuple[Rule, ...]:
    """Docker's own, without importing the others: what an ordinary build looks at."""
    return tuple(map(_rule, _DOCKER))


def _rule(name: str) -> Rule:
    module = importlib.import_module(f"{rules.__name__}.{name}")
    return read_rule(name, module.__doc__ or "", module.check)


def chosen_rules(known: Iterable[Rule], names: Iterable[str]) -> tuple[Rule, ...]:
    """Those with the names, in any case; all where none is named. Raises UserError for another."""
    by_name = {rule.name.lower(): rule for rule in known}
    wanted = [name.lower() for name in names]
    for name in wanted:
        if name not in by_name:
            offered = [rule.name for rule in by_name.values()]
            message = f"there is no rule {name!r}"
            raise UserError(did_you_mean(message, name, offered, ignore_case=True))
    return tuple(by_name[name] for name in wanted) or tuple(by_name.values())
