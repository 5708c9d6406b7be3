"""The whole service over HTTP: throughput, load, long lists and a rebuild."""
