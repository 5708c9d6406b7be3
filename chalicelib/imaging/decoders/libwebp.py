"""The libwebp of Pillow's wheels, called for what Pillow does not offer: scaling while it decodes.

Layouts and numbers are those of libwebp's `decode.h`. They have been extended in place only since 2012, and
libwebp itself refuses a caller whose `_ABI` is of another major version; then, or where Pillow is built
against a libwebp of its system or none, `AVAILABLE` is false.
"""

import ctypes

from PIL import Image

from chalicelib.imaging.decoders import bundled

_ABI = 0x0209
_RGB, _RGBA_PREMULTIPLIED = 0, 7
_OK = 0


class _Output(ctypes.Structure):
    """A WebPDecBuffer with a WebPRGBABuffer; `rest` is what the union's WebPYUVABuffer has beyond that."""

    _fields_ = (
        ("colorspace", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("is_external_memory", ctypes.c_int),
        ("pixels", ctypes.c_void_p),
        ("stride", ctypes.c_int),
        ("size", ctypes.c_size_t),
        ("rest", ctypes.c_uint8 * (80 - 24)),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Config(ctypes.Structure):
    """A WebPDecoderConfig: features of the input, the output, options."""

    _fields_ = (
        ("input", ctypes.c_int * 10),
        ("output", _Output),
        ("bypass_filtering", ctypes.c_int),
        ("no_fancy_upsampling", ctypes.c_int),
        ("use_cropping", ctypes.c_int),
        ("crop", ctypes.c_int * 4),
        ("use_scaling", ctypes.c_int),
        ("scaled_width", ctypes.c_int),
        ("scaled_height", ctypes.c_int),
        ("use_threads", ctypes.c_int),
        ("more", ctypes.c_uint32 * 8),
    )


def _load() -> ctypes.CDLL | None:
    library = bundled.load("libwebp")
    if library is None or not library.WebPInitDecoderConfigInternal(ctypes.byref(_Config()), _ABI):
        return None
    library.WebPDecode.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(_Config))
    return library


_library = _load()
AVAILABLE = _library is not None
"""Whether `decode` can be called."""


def decode(
    content: bytes, picture_size: tuple[int, int], size: tuple[int, int], *, alpha: bool
) -> Image.Image:
    """Decode a WebP of one frame and scale it.

    Args:
        content: the file; it must not be an animation.
        picture_size: width and height that the file's header declares.
        size: width and height of the result, at most those of the picture.
        alpha: whether the result is of mode RGBa (premultiplied, also while it is scaled) or RGB.

    Raises:
        ValueError: the file is truncated or damaged.
        RuntimeError: libwebp is not `AVAILABLE`.

    """
    if _library is None:
        raise RuntimeError("Pillow brings no libwebp of its own.")
    width, height = size
    mode, channels, colorspace = ("RGBa", 4, _RGBA_PREMULTIPLIED) if alpha else ("RGB", 3, _RGB)
    pixels = ctypes.create_string_buffer(width * height * channels)
    config = _Config()
    _library.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI)
    config.output.colorspace = colorspace
    config.output.is_external_memory = 1
    config.output.pixels = ctypes.addressof(pixels)
    config.output.stride = width * channels
    config.output.size = len(pixels)
    # At full size the scaler would only cost the smoother interpolation of colours.
    config.use_scaling = int(size != picture_size)
    config.scaled_width, config.scaled_height = size
    # A file whose size is another than declared does not fit the buffer, which libwebp checks.
    status = _library.WebPDecode(content, len(content), ctypes.byref(config))
    if status != _OK:
        raise ValueError(f"libwebp reports status {status}.")
    return Image.frombytes(mode, size, pixels.raw)
