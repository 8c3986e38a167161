"""Write the table of `RUNBOOK.md` that says what each change of the configuration does.

Invariant: the table is a function of what each configuration field declares (`change` and `restarts` in the schema), so
it cannot say other than what the daemon does.

    python deploy/changes.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from streameval.schema import all_schemas

TARGET: Final = Path(__file__).parent / "RUNBOOK.md"
BEGIN, END = "<!-- changes: written by deploy/changes.py -->\n", "<!-- end of changes -->\n"

Schema = dict[str, Any]


def declared(schema: Schema, definitions: dict[str, Schema], path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, effect, what it restarts or what to do instead) of every field below a schema."""
    if "$ref" in schema:
        yield from declared(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions, path)
    for kind in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(kind, ()):
            yield from declared(one, definitions, path)
    if "items" in schema:
        yield from declared(schema["items"], definitions, f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from declared(schema["additionalProperties"], definitions, f"{path}.NAME")
    for key, field in schema.get("properties", {}).items():
        here = f"{path}.{key}".lstrip(".")
        if "change" in field:
            yield here, field["change"], field.get("restarts", "")
        yield from declared(field, definitions, here)


def table() -> str:
    """The table's text: one line for each effect, the keys in their order."""
    whole = all_schemas()["config"]
    keys: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, effect, restarts in declared(whole, whole["$defs"]):
        key = path.removeprefix("models[].")
        named = keys[effect, restarts]
        # What holds for a section holds for its keys, unless they say otherwise.
        if not any(key == other or key.startswith((f"{other}.", f"{other}[")) for other in named):
            named.append(key)
    lines = ["| change of | does |", "|---|---|"]
    for (effect, restarts), named in sorted(
        keys.items(), key=lambda one: ("restarts", "refused", "live").index(one[0][0])
    ):
        if effect == "live":
            continue
        does = f"learns anew: {restarts}" if effect == "restarts" else f"**refused**: {restarts}"
        lines.append(f"| {', '.join(f'`{key}`' for key in named)} | {does} |")
    lines.append("| every other key | is taken up live, nothing is learnt anew |")
    return "\n".join(lines) + "\n"


def rewritten(page: str) -> str:
    """The page with the table of now."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    TARGET.write_text(rewritten(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
