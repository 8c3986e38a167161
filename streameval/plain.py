r"""Plain text: which characters a name may hold, and how foreign text is shown.

Refused are the Unicode categories Cc (C0, DEL and C1, so terminal sequences too), Cf (bidi controls, zero widths, byte
order marks, soft hyphens, tags), Zl, Zp and lone surrogates: what moves a cursor, turns text round, breaks a line, or
makes two names that look the same. Two of Cf are letters' matter: Persian needs U+200C, Indic scripts both it and
U+200D, and U+200D joins emoji. These two are plain between two characters beyond ASCII, and refused elsewhere, where
they could only hide (``fra\u200dud``).

Invariant: ``is_plain(cleaned(text))``, and ``cleaned(text) == text`` exactly where ``is_plain(text)``. The characters
stand here by number, not by the Unicode version of the Python that runs: what is refused decides what comes out.
Source: Unicode 16, UAX #31 (2.3.1: layout and format control characters).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["REFUSED", "cleaned", "is_plain"]

_RANGES: Final = (
    r"\x00-\x1f\x7f-\x9f\xad"
    r"\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"
    r"\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_VISIBLE: Final = r"[^\x00-\x7f\u200c\u200d]"

REFUSED: Final = re.compile(rf"[{_RANGES}]|(?<!{_VISIBLE})[\u200c\u200d]|[\u200c\u200d](?!{_VISIBLE})")
"""Finds one character that a name may not hold."""


def is_plain(text: str) -> bool:
    r"""Whether a text holds none of the refused characters.

    >>> is_plain("Zoë, می\u200cخواهم"), is_plain("a\u202eb"), is_plain("a\u200db"), is_plain("a\nb")
    (True, False, False, False)
    """
    return (text.isascii() and text.isprintable()) or REFUSED.search(text) is None


def cleaned(text: str) -> str:
    r"""The text as it may be shown: each refused character becomes U+FFFD.

    >>> cleaned("\x1b[31mred\u202e")
    '�[31mred�'
    """
    return REFUSED.sub("\ufffd", text)
