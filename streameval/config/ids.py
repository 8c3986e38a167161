"""How ids are hashed: with a key, or openly.

Invariant: the key itself never stands in the configuration; its fingerprint does, so that state that was made under
another key is refused.
"""

from __future__ import annotations

import hashlib
from typing import Final

from streameval.config.section import Section, setting
from streameval.config.transport import Secret
from streameval.errors import ConfigValueError

__all__ = ["Ids", "fingerprint"]

LEAST_BYTES: Final = 16
"""A shorter key could be found by trying."""
_NEW_HASHES: Final = "ids that wait are kept as hashes under it; start with another state directory and worker name"


class Ids(Section):
    """What is kept of an id: a hash of 64 bits, by which outcomes find their predictions."""

    key: Secret | None = setting(
        "a secret of at least 16 bytes, `{env: NAME}` or `{file: PATH}`, the same for all shards: with it ids are "
        "hashed by BLAKE2b, and nobody who does not know it can choose two ids that are taken for one. Needed where "
        "people whom you do not trust choose ids",
        change="refused",
        restarts=_NEW_HASHES,
        default=None,
    )
    fingerprint: str = setting(
        "of the key; filled in when it is read", change="refused", restarts=_NEW_HASHES, default=""
    )

    def read(self) -> tuple[Ids, bytes]:
        """These settings with the key's fingerprint, and the key for `Engine`: 32 bytes, or none.

        Raises:
            ConfigValueError: the secret cannot be read, or is too short.
        """
        if self.key is None:
            return self, b""
        secret = self.key.reveal().encode()
        if len(secret) < LEAST_BYTES:
            raise ConfigValueError(
                f"the key has less than {LEAST_BYTES} bytes",
                where="ids.key",
                cure="make one with: openssl rand -hex 32",
            )
        key = hashlib.blake2b(secret, digest_size=32).digest()
        return self.model_copy(update={"fingerprint": fingerprint(key)}), key


def fingerprint(key: bytes) -> str:
    """32 hex digits that tell keys apart and do not tell the key; of no key, nothing."""
    return hashlib.blake2b(key=key, digest_size=16, person=b"streameval ids").hexdigest() if key else ""
