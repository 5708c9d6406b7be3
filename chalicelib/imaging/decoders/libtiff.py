"""The libtiff of Pillow's wheels, called for what Pillow does not offer: the samples of any layout.

libtiff unpacks each strip or tile, undoes the predictor and the order of bytes and bits; what the samples
mean is for the caller. The functions are those of libtiff's public header `tiffio.h`, whose soname (6) stands
for their signatures. Everything is set for one file: nothing changes for Pillow's own use of the library.
"""

import ctypes
from collections.abc import Callable
from types import TracebackType
from typing import Self

from chalicelib.imaging.decoders import bundled

_Read = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t)
_Seek = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int)
_Close = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_Size = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)
_Map = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint64)
)
_Unmap = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)
_Message = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p
)
_FROM_HERE, _FROM_END = 1, 2
_HANDLED = 1

_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "TIFFOpenOptionsAlloc": (ctypes.c_void_p, ()),
    "TIFFOpenOptionsFree": (None, (ctypes.c_void_p,)),
    "TIFFOpenOptionsSetMaxSingleMemAlloc": (None, (ctypes.c_void_p, ctypes.c_ssize_t)),
    "TIFFOpenOptionsSetErrorHandlerExtR": (None, (ctypes.c_void_p, _Message, ctypes.c_void_p)),
    "TIFFOpenOptionsSetWarningHandlerExtR": (None, (ctypes.c_void_p, _Message, ctypes.c_void_p)),
    "TIFFClientOpenExt": (
        ctypes.c_void_p,
        (
            *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p),
            *(_Read, _Read, _Seek, _Close, _Size, _Map, _Unmap, ctypes.c_void_p),
        ),
    ),
    "TIFFClose": (None, (ctypes.c_void_p,)),
    "TIFFStripSize64": (ctypes.c_uint64, (ctypes.c_void_p,)),
    "TIFFTileSize64": (ctypes.c_uint64, (ctypes.c_void_p,)),
    "TIFFReadEncodedStrip": (
        ctypes.c_ssize_t,
        (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_ssize_t),
    ),
    "TIFFReadEncodedTile": (
        ctypes.c_ssize_t,
        (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_ssize_t),
    ),
    "TIFFReadRGBAStripExt": (
        ctypes.c_int,
        (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int),
    ),
    "TIFFReadRGBATileExt": (
        ctypes.c_int,
        (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int),
    ),
}
"""By the function's name: the type of its result and of its arguments."""


def _load() -> ctypes.CDLL | None:
    library = bundled.load("libtiff")
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError:  # none, or one older than 4.5
        return None
    return library


_library = _load()
AVAILABLE = _library is not None
"""Whether a `File` can be opened."""


class File:
    """A TIFF of one page in memory, open for reading its strips or tiles."""

    def __init__(self, content: bytes, *, most: int) -> None:
        """Open a file.

        Args:
            content: the file; it is not copied.
            most: bytes that libtiff may allocate in one piece.

        Raises:
            RuntimeError: libtiff is not `AVAILABLE`.
            ValueError: libtiff finds no picture in the file.

        """
        if _library is None:
            raise RuntimeError("Pillow brings no libtiff of its own.")
        self._functions = _library
        self._content = content
        self._callbacks = _callbacks(content)
        silent = _Message(lambda *_: _HANDLED)
        options = _library.TIFFOpenOptionsAlloc()
        try:
            _library.TIFFOpenOptionsSetMaxSingleMemAlloc(options, most)
            _library.TIFFOpenOptionsSetErrorHandlerExtR(options, silent, None)
            _library.TIFFOpenOptionsSetWarningHandlerExtR(options, silent, None)
            # Read only, and no dividing of large strips behind the caller's back.
            self._file = _library.TIFFClientOpenExt(b"", b"rc", None, *self._callbacks, options)
        finally:
            _library.TIFFOpenOptionsFree(options)
        self._silent = silent
        if not self._file:
            raise ValueError("libtiff finds no picture in the file.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._functions.TIFFClose(self._file)

    def piece_bytes(self, *, tiled: bool) -> int:
        """Return the bytes of one unpacked tile, or of one strip that is not the last."""
        size = self._functions.TIFFTileSize64 if tiled else self._functions.TIFFStripSize64
        return int(size(self._file))

    def read(self, number: int, buffer: ctypes.Array[ctypes.c_char], size: int, *, tiled: bool) -> None:
        """Unpack one strip or tile into the first `size` bytes of `buffer`.

        Raises:
            ValueError: the strip or tile is damaged, truncated, or of another size.

        """
        if size > len(buffer):
            raise ValueError("The buffer is too small.")
        read = self._functions.TIFFReadEncodedTile if tiled else self._functions.TIFFReadEncodedStrip
        if read(self._file, number, buffer, size) != size:
            raise ValueError("libtiff cannot unpack a strip or tile.")

    def read_rgba(self, column: int, row: int, buffer: ctypes.Array[ctypes.c_char], *, tiled: bool) -> None:
        """Convert the strip or tile that starts at `column` and `row` to RGBA, its last row first.

        `buffer` has 4 bytes for each pixel of a whole strip or tile.

        Raises:
            ValueError: the piece is damaged or truncated, or its colours are of a kind that libtiff does not
                convert.

        """
        if tiled:
            done = self._functions.TIFFReadRGBATileExt(self._file, column, row, buffer, 1)
        else:
            done = self._functions.TIFFReadRGBAStripExt(self._file, row, buffer, 1)
        if not done:
            raise ValueError("libtiff cannot convert a strip or tile to RGB.")


def _callbacks(content: bytes) -> tuple[Callable[..., object], ...]:
    """Return the functions by which libtiff gets at a file in memory: it maps it, and reads the header."""
    address = ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value or 0
    position = 0

    def read(_file: int, buffer: int, size: int) -> int:
        nonlocal position
        size = max(0, min(size, len(content) - position))
        ctypes.memmove(buffer, address + position, size)
        position += size
        return size

    def write(_file: int, _buffer: int, _size: int) -> int:
        return -1

    def seek(_file: int, offset: int, whence: int) -> int:
        nonlocal position
        position = offset + {_FROM_HERE: position, _FROM_END: len(content)}.get(whence, 0)
        return position

    def map_file(
        _file: int, base: "ctypes._Pointer[ctypes.c_void_p]", size: "ctypes._Pointer[ctypes.c_uint64]"
    ) -> int:
        base[0] = ctypes.c_void_p(address)
        size[0] = ctypes.c_uint64(len(content))
        return 1

    return (
        _Read(read),
        _Read(write),
        _Seek(seek),
        _Close(lambda _file: 0),
        _Size(lambda _file: len(content)),
        _Map(map_file),
        _Unmap(lambda _file, _base, _size: None),
    )
