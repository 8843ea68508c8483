"""A Node.js application of which one page has changed, its Dockerfile in two orders."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from bench import alone
from bench.scenarios import ONE_OF_THEM, Scenario
from tools.bases import debian_rootfs
from tools.registries import npm_secrets

ORDERS = Path(__file__).parents[2] / "demo" / "order"
SCRIPTS = {"bad": "npm install && npm run build", "good": "npm run build"}


def prepare(context: Path, /, *, order: str) -> None:
    shutil.copytree(ORDERS / "app", context, dirs_exist_ok=True)
    shutil.copy(ORDERS / f"{order}.Dockerfile", context / "Dockerfile")


def change(context: Path, number: int, /) -> None:
    shutil.copy(ORDERS / "app" / "pages" / "index.md", context / "pages" / "index.md")
    with (context / "pages" / "index.md").open("a") as page:
        page.write(f"\nRound {number}.\n")


def secrets(scratch: Path) -> dict[str, Path]:
    """By their ids, the files that the options `--secret=id=ID,src=FILE` name."""
    options = (option.split("=", 1)[1] for option in npm_secrets(scratch))
    pairs = (dict(part.split("=", 1) for part in option.split(",")) for option in options)
    return {pair["id"]: Path(pair["src"]) for pair in pairs}


def by_itself(scratch: Path, *, order: str) -> float:
    root = scratch / "root"
    alone.unpack(debian_rootfs("nodejs", "npm"), root)
    alone.give(root, {"app": ORDERS / "app"})
    places = {"npmrc": "root/.npmrc", "ca": "run/secrets/ca"}
    alone.give(root, {places[name]: path.resolve() for name, path in secrets(scratch).items()})
    if order == "good":
        alone.timed(root, "npm install", folder="/app")
    return alone.timed(root, SCRIPTS[order], folder="/app")


SCENARIOS = [
    Scenario(
        name=f"Node.js, one page changed, {order} order",
        prepare=partial(prepare, order=order),
        change=change,
        base="node",
        rounds=2,
        work=partial(by_itself, order=order),
        target=0.5,
        differs=("root/.npm", "tmp", "app/node_modules/.package-lock.json"),
        secrets=secrets,
        network=True,
        without=ONE_OF_THEM,
    )
    for order in ("bad", "good")
]
