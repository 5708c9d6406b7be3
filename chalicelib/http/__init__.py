"""All that is particular to HTTP: request parsing, headers, error responses, the page, the description."""
