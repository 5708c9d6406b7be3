"""Mutation testing of the parts where a mistake loses pictures; `python -m benchmarks.mutation`."""
