"""Measurements of the service and its parts; `docs/measuring.md` tells what each one says."""
