"""What is in a state directory, read without its lock: the newest checkpoint that can be read, as its files say.

Source: the layout of `streameval.transport.checkpoint`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from streameval.transport import codec
from streameval.transport.checkpoint import Manifest

__all__ = ["Stored", "newest"]


class Stored:
    """A checkpoint's manifest, and its state when that is asked for.

    Attributes:
        worker: whose it is.
        n: its number.
        size: bytes of all its files.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory = directory
        self._manifest = manifest
        self.worker = manifest.worker
        self.n = manifest.n
        self.size = sum(file.size for file in manifest.files())

    def joins(self) -> dict[str, dict[str, int]]:
        """By model: predictions that are kept for outcomes, and those whose id was there already and that differed.

        Raises:
            FileNotFoundError: the worker has replaced the checkpoint meanwhile.
        """
        state = codec.decode((self._directory / self._manifest.state.file).read_bytes())
        joins = {name: model["join"] for name, model in state["models"].items()}
        return {
            name: {"waiting": _rows(join), "duplicates_differing": join["counters"]["duplicates_differing"]}
            for name, join in joins.items()
        }


def _rows(join: dict[str, Any]) -> int:
    rows: int = sum(run["fixed"][1][0][2] for run in join["rows"]["runs"])
    waiting: int = sum(layout[0][2] - taken for _, _, layout, taken in join["predictions"]["chunks"])
    return rows + waiting


def newest(directory: Path) -> Stored | None:
    """The newest checkpoint whose manifest can be read; None if there is none."""
    for path in sorted((directory / "checkpoints").glob("*.json"), reverse=True):
        try:
            text = path.read_bytes().partition(b"\n")[0]
            return Stored(directory, msgspec.json.decode(text, type=Manifest))
        except (FileNotFoundError, msgspec.DecodeError):
            continue  # replaced meanwhile, or damaged: a start passes over it as well
    return None
