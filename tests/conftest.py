"""How all tests run: laws are tried without a deadline, because a busy machine is no defect."""

from hypothesis import settings

settings.register_profile("streameval", deadline=None, print_blob=True)
settings.load_profile("streameval")
