"""The commands that people and scripts type. stdout carries results, stderr all that is said meanwhile.

One module a command; `app` puts them together and turns errors into messages and exit codes. Names, options and exit
codes are a public surface. Modules that need River (which takes over a second to import) are imported by the commands
when they run, so that ``--help`` and ``schema`` answer at once.
"""

from streameval.cli.app import main

__all__ = ["main"]
