"""Finds the C libraries that Pillow's wheels bring, for functions that Pillow does not offer."""

import ctypes
from pathlib import Path

import PIL


def load(name: str) -> ctypes.CDLL | None:
    """Load the library `name` that lies beside Pillow.

    Returns:
        None where Pillow is built against the libraries of its system, or the library cannot be loaded.

    """
    package = Path(PIL.__file__).parent
    candidates = [*package.parent.glob(f"pillow.libs/{name}-*"), *package.glob(f".dylibs/{name}.*")]
    try:
        return ctypes.CDLL(str(candidates[0])) if candidates else None
    except OSError:
        return None
