"""The tests; `tests/test_<module>.py` mirrors the module."""

from hypothesis import settings

# The same examples on every machine, and no limit of time for one: the machine may be busy.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=200)
settings.load_profile("tests")
