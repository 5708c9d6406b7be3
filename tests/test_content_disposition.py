"""The download's name: exact, and harmless wherever it is written."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from chalicelib.http.content_disposition import attachment, thumbnail_name

# Weighted towards what breaks headers and paths.
TROUBLE = st.sampled_from("\"\\/%;='.\r\n\t\0 *")
names = st.text(st.characters(exclude_categories=["Cs"]) | TROUBLE, max_size=255)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("IMG_8932.png", "IMG_8932.thumbnail.jpg"),
        ("IMG_8932.JPG", "IMG_8932.thumbnail.jpg"),
        ("photo", "photo.thumbnail.jpg"),
        ("photo.", "photo.thumbnail.jpg"),
        ("archive.tar.gz", "archive.tar.thumbnail.jpg"),
        (".png", ".png.thumbnail.jpg"),
        ("", "picture.thumbnail.jpg"),
        ('naïve "photo".jpeg', 'naïve "photo".thumbnail.jpg'),
        ("../../etc/passwd", ".._.._etc_passwd.thumbnail.jpg"),
        ("..\\..\\boot.ini", ".._.._boot.thumbnail.jpg"),
        ("holiday.2026/beach", "holiday.2026_beach.thumbnail.jpg"),
        ("album/.png", "album_.png.thumbnail.jpg"),
        ("/", "_.thumbnail.jpg"),
        ("\N{CAT FACE}.png", "\N{CAT FACE}.thumbnail.jpg"),
        ("a\r\nSet-Cookie: b=c.png", "a__Set-Cookie: b=c.thumbnail.jpg"),
        ("a\0b\x7fc\x85d.png", "a_b_c_d.thumbnail.jpg"),
        ("100%.png", "100%.thumbnail.jpg"),
    ],
)
def test_a_thumbnail_is_named_after_its_original(filename: str, expected: str) -> None:
    assert thumbnail_name(filename) == expected


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.jpg", "attachment; filename=\"a.jpg\"; filename*=UTF-8''a.jpg"),
        ('"a b".jpg', "attachment; filename=\"_a b_.jpg\"; filename*=UTF-8''%22a%20b%22.jpg"),
        ("50%41.jpg", "attachment; filename=\"50_41.jpg\"; filename*=UTF-8''50%2541.jpg"),
        ("ï.jpg", "attachment; filename=\"_.jpg\"; filename*=UTF-8''%C3%AF.jpg"),
        ("a'(*);.jpg", "attachment; filename=\"a'(*);.jpg\"; filename*=UTF-8''a%27%28%2A%29%3B.jpg"),
        ("a\\b.jpg", "attachment; filename=\"a_b.jpg\"; filename*=UTF-8''a%5Cb.jpg"),
    ],
)
def test_the_header_is_spelt_as_rfc_6266_has_it(name: str, header: str) -> None:
    assert attachment(name) == header


@given(names)
def test_a_thumbnails_name_is_one_harmless_file_name(filename: str) -> None:
    name = thumbnail_name(filename)
    assert name.endswith(".thumbnail.jpg")
    assert name != ".thumbnail.jpg"
    assert not any(character in "/\\" or unicodedata.category(character) == "Cc" for character in name)
    assert len(name) <= len(filename) + len("picture.thumbnail.jpg")


@given(names)
def test_browsers_read_the_exact_name(filename: str) -> None:
    kind, options = parse_options_header(attachment(thumbnail_name(filename)))
    assert kind == "attachment"
    assert options == {"filename": thumbnail_name(filename)}


@given(names)
def test_the_header_is_one_line_of_printable_ascii(filename: str) -> None:
    assert re.fullmatch(r"[ -~]+", attachment(thumbnail_name(filename)), re.ASCII)


@given(names)
def test_old_clients_find_a_plain_name_too(filename: str) -> None:
    plain, _, exact = attachment(thumbnail_name(filename)).partition("; filename*=")
    assert re.fullmatch(r'attachment; filename="[^"\\%]+\.thumbnail\.jpg"', plain)
    assert re.fullmatch(r"UTF-8''([A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+", exact)
