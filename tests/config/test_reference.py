"""The reference page is what the models say."""

from streameval.config.reference import reference
from tests.house.readme import ROOT


def test_the_reference_is_in_step_with_the_models():
    """If not: python -m streameval.config.reference > config/reference.md."""
    assert (ROOT / "config" / "reference.md").read_text(encoding="utf-8") == reference()
