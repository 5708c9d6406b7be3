"""HTTP: request parsing, response headers, error responses, the page, the API's description."""
