"""`--chmod`: octal, or symbolic as chmod(1) knows it (`u=rwX,go=rX`)."""

from __future__ import annotations

import re

from lamina.errors import UserError

_CLAUSE = re.compile(r"[ugoa]*([-+=]([rwxXst]*|[ugo]))+\Z")


def check_mode(text: str) -> None:
    """Raises UserError if `text` is no mode."""
    if re.fullmatch(r"[0-9]+", text):
        known = re.fullmatch(r"0*[0-7]{1,4}", text) is not None
    else:
        known = all(_CLAUSE.match(clause) for clause in text.split(","))
    if not known:
        raise UserError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
            hint="write 0755 or u=rwX,go=rX",
        )
