"""Measurements of the service and its parts; `benchmarks/README.md` tells what each one says."""
