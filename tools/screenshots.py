"""`make screenshots`: the README's pictures of the report and of `lamina explain`.

They are taken in headless Chromium, of what the demo has left in build/demo.
"""

from __future__ import annotations

import html
import sys
import tempfile
from pathlib import Path

from demo.reports import PLACE
from tests.support.chromium import Browser, running_chromium

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LARGEST = 200 * 1024  # bytes of a picture
STORY = "order"
TERMINAL = """<!doctype html><meta charset="utf-8"><title>lamina explain</title><style>
body {{ margin: 0; padding: 28px; background: #faf9f7; }}
div {{ background: #1b1a18; color: #e9e5de; border-radius: 12px; padding: 14px 24px 22px;
  font: 15px/1.6 "DejaVu Sans Mono", ui-monospace, monospace; white-space: pre-wrap; }}
div::before {{ content: "● ● ●"; color: #57524b; letter-spacing: 2px; display: block; }}
b {{ color: #9db0ff; font-weight: 400; }} strong {{ color: #fff; }}
i {{ color: #8f887d; font-style: normal; }}
</style><div><i>$</i> <b>lamina explain ^1</b>
{text}</div>"""


def main() -> int:
    """Exit code 1 where the demo has not been run, or a picture is too large."""
    page, explained = PLACE / f"{STORY}.html", PLACE / f"{STORY}.txt"
    if not page.exists() or not explained.exists():
        print(f"{page} is missing: run make demo", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        terminal = Path(folder) / "explain.html"
        terminal.write_text(TERMINAL.format(text=_marked(explained.read_text())))
        with running_chromium(Path(folder) / "profile") as browser:
            _shoot(browser, page, IMAGES / "report.png", height=1450)
            _shoot(browser, page, IMAGES / "report-dark.png", height=1450, dark=True)
            _shoot(browser, page, IMAGES / "report-phone.png", width=390, height=1400)
            _shoot(browser, terminal, IMAGES / "explain.png", width=1080)
    too_large = [path.name for path in IMAGES.glob("*.png") if path.stat().st_size > LARGEST]
    if too_large:
        print(f"larger than {LARGEST >> 10} KiB: {', '.join(too_large)}", file=sys.stderr)
    return 1 if too_large else 0


def _shoot(
    browser: Browser,
    page: Path,
    to: Path,
    *,
    width: int = 1200,
    height: int | None = None,
    dark: bool = False,
) -> None:
    browser.open(page, width=width, dark=dark)
    tall = browser.value("document.body.offsetHeight")
    assert isinstance(tall, int)
    browser.screenshot(to, height=min(height or tall, tall))
    print(f"{to}: {to.stat().st_size >> 10} KiB")


def _marked(text: str) -> str:
    """The first line stands out, as it does when it is read."""
    first, _, rest = html.escape(text.strip()).partition("\n")
    return f"<strong>{first}</strong>\n{rest}"


if __name__ == "__main__":
    sys.exit(main())
