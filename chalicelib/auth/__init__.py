"""Checks bearer tokens against the keys of their issuer. Imports PyJWT, which only the authorizer loads."""
