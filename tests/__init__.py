"""Tests; `tests/test_<module>.py` mirrors the module."""
