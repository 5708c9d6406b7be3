"""The thumbnail service's own modules; `app.py` wires them together."""
