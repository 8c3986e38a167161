"""Where events come from and records go to: a directory of JSONL logs, or Kafka.

Invariant: a secret never stands in the configuration. It holds where the secret is (an environment variable or a
file), so that printing, hashing or logging a configuration cannot leak it.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from streameval.config.quantities import MINUTE, LocalPath, Name, PositiveDuration
from streameval.config.section import RefusedError, Section, setting
from streameval.errors import ConfigValueError

__all__ = ["Kafka", "LogDir", "Secret", "Security", "Transport"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WHERE_ELSE = "positions belong to it; start with another state directory and worker name"


class Secret(Section):
    """Where a secret is found: ``{env: NAME}`` (or ``${NAME}``), or ``{file: PATH}``."""

    env: str | None = setting("environment variable that holds it", default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    file: LocalPath | None = setting("file that holds it; a newline at its end is not part of it", default=None)

    @model_validator(mode="before")
    @classmethod
    def _reference_only(cls, value: Any) -> Any:
        if isinstance(value, str):
            found = _VARIABLE.fullmatch(value)
            if not found:
                raise RefusedError(
                    "a secret may not stand in the configuration",
                    "write {env: NAME} or {file: PATH}, where it is kept",
                )
            return {"env": found[1]}
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise RefusedError("a secret has one place", "write either {env: NAME} or {file: PATH}")
        return self

    def reveal(self) -> str:
        """The secret itself, read now (so that a rotated file is seen).

        Raises:
            ConfigValueError: the variable is not set, or the file cannot be read.
        """
        if self.env is not None:
            found = os.environ.get(self.env)
            if found is None:
                raise ConfigValueError(
                    "the environment variable of a secret is not set", where=self.env, cure="set it for this process"
                )
            return found
        if self.file is None:  # pragma: no cover - the validator allows no third case
            raise ConfigValueError("a secret without a place", cure="write {env: NAME} or {file: PATH}")
        try:
            return self.file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigValueError(
                "the file of a secret cannot be read", where=str(self.file), cure="check its path and permissions"
            ) from error


class Security(Section):
    """How to speak to the brokers."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "Kafka's security protocol", default="PLAINTEXT"
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = setting(
        "SASL mechanism, for the SASL protocols", default=None
    )
    username: str | None = setting("SASL user name", default=None)
    password: Secret | None = setting("SASL password: {env: NAME} or {file: PATH}", default=None)
    ca_file: LocalPath | None = setting("certificates (PEM) of those who sign the brokers'", default=None)
    cert_file: LocalPath | None = setting("our certificate (PEM), where brokers ask for one", default=None)
    key_file: LocalPath | None = setting("our private key (PEM)", default=None)
    key_password: Secret | None = setting("password of key_file: {env: NAME} or {file: PATH}", default=None)
    check_hostname: bool = setting("whether a broker's certificate must name its host", default=True, strict=True)

    @model_validator(mode="after")
    def _complete(self) -> Security:
        sasl = self.protocol.startswith("SASL")
        if sasl and (self.mechanism is None or self.username is None or self.password is None):
            raise RefusedError(f"{self.protocol} needs mechanism, username and password", "give all three")
        if not sasl and (self.mechanism or self.username or self.password):
            raise RefusedError(
                f"{self.protocol} does not log in", "use SASL_SSL (or SASL_PLAINTEXT), or leave the log-in out"
            )
        if not self.protocol.endswith("SSL") and (self.ca_file or self.cert_file or self.key_file):
            raise RefusedError(f"{self.protocol} uses no certificates", "use SSL or SASL_SSL, or leave the files out")
        if (self.cert_file is None) != (self.key_file is None):
            raise RefusedError("cert_file and key_file belong together", "give both or neither")
        return self


class LogDir(Section):
    """The embedded transport: ``PATH/<topic>/<partition>.jsonl``, read as it grows."""

    kind: Literal["logdir"] = setting("a directory of JSONL logs", change="refused", restarts=_WHERE_ELSE)
    path: LocalPath = setting("the directory", change="refused", restarts=_WHERE_ELSE)


class Kafka(Section):
    """Apache Kafka, by kafka-python."""

    kind: Literal["kafka"] = setting("Apache Kafka", change="refused", restarts=_WHERE_ELSE)
    bootstrap: tuple[Name, ...] = setting("brokers to ask first, as host:port", min_length=1)
    security: Security = setting("how to speak to the brokers", default=Security())
    create_topics: bool = setting("whether missing output topics are created", default=True, strict=True)
    patience: PositiveDuration = setting(
        "how long a start waits for brokers that do not answer before it gives up (exit code 6); once it runs, a "
        "worker waits for as long as it takes",
        default=10 * MINUTE,
    )

    @model_validator(mode="after")
    def _addresses(self) -> Kafka:
        for address in self.bootstrap:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise RefusedError(f"{address!r} is not an address", "write host:port, as in kafka-0.kafka:9092")
        return self


Transport = Annotated[LogDir | Kafka, Field(discriminator="kind")]
"""One of the transports, told apart by ``kind``."""
