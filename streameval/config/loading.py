"""From a file to a checked :class:`~streameval.config.worker.Config`.

Invariant: what comes out can be run; everything wrong is told at once, with the file, the path in it and the cure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streameval.config.document import Document, read
from streameval.config.explanation import explain
from streameval.config.worker import Config
from streameval.errors import ConfigFileError, NotAvailableError

__all__ = ["load", "parse"]


def load(path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a YAML or JSON file; relative paths in it start at its folder.

    Args:
        path: the file.
        environ: where ``${NAME}`` is looked up; the process's environment by default.

    Raises:
        ConfigFileError: the file is missing, unreadable or not YAML.
        ConfigValueError: something in it is wrong.
        NotAvailableError: it asks for something that is not available yet.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        cure = "check the path given with --config; config/example.yaml is a start"
        raise ConfigFileError("no such file", where=str(file), cure=cure) from error
    except IsADirectoryError as error:
        raise ConfigFileError("a directory, not a file", where=str(file), cure="name the file in it") from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"not UTF-8 (byte {error.start})", where=str(file), cure="save it as UTF-8") from error
    except OSError as error:
        raise ConfigFileError(
            f"cannot be read: {error.strerror}", where=str(file), cure="check its permissions"
        ) from error
    document = read(text, str(file), os.environ if environ is None else environ)
    return _checked(document, base=file.absolute().parent)


def parse(data: Mapping[str, Any], *, name: str = "configuration", base: Path | None = None) -> Config:
    """The configuration of plain values, checked like a file.

    Args:
        data: what a file would hold.
        name: what it is called in errors.
        base: the folder in which relative paths start; None leaves them as they are.

    Raises:
        ConfigValueError: something in it is wrong.
        NotAvailableError: it asks for something that is not available yet.

    >>> parse({"transport": {"kind": "logdir", "path": "events"}, "models": [{"name": "fraud"}]}).models[0].labels.wait
    86400000
    """
    return _checked(Document(name, dict(data)), base=base)


def _checked(document: Document, base: Path | None) -> Config:
    try:
        config = Config.model_validate(document.values, context={"base": base})
    except ValidationError as error:
        raise explain(error, document) from error
    for index, model in enumerate(config.models):
        if model.task != "binary":
            raise NotAvailableError(
                f"task {model.task} is not available yet",
                where=document.place(("models", index, "task")),
                cure="only binary models can be evaluated in this release: take the model out, or make its task binary",
            )
    return config
