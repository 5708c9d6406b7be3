"""Pictures made by code whose right thumbnails are known: for the tests and for the benchmarks of imaging."""
