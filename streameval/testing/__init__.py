"""Fakes and fault injection that travel with the package, so that users test against what streameval tests against."""
