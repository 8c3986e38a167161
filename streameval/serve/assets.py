"""What travels with the package for the page: its template, styles and scripts, and plotly.js."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import resources

from streameval.errors import MissingDependencyError

__all__ = ["plotly_js", "text"]


@cache
def text(name: str) -> str:
    """One of our own files, as text."""
    return resources.files("streameval.serve").joinpath(name).read_text(encoding="utf-8")


@cache
def plotly_js() -> str:
    """plotly.js, 4.6 MB, as it is shipped with plotly.

    Raises:
        MissingDependencyError: This release of plotly does not ship it.
    """
    # By its path: importing plotly takes a third of a second and a good deal of memory, for one file.
    source = pkgutil.get_data("plotly", "package_data/plotly.min.js")
    if source is None:
        cure = 'pip install "plotly>=6.0"'
        raise MissingDependencyError("plotly.js is not where plotly keeps it", where="package plotly", cure=cure)
    return source.decode()
