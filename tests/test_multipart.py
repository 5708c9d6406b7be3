"""Upload bodies as curl, browsers and requests send them, and as no client should."""

import dataclasses
from collections.abc import Callable

import pytest
import requests

from chalicelib.errors import MalformedUpload, UploadTooLarge
from chalicelib.http.multipart import FIELD, MAX_FILENAME, MAX_PARTS, parse_upload
from chalicelib.work.upload import Upload

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
PHOTO = b"\xff\xd8\xff\xe0 a picture \r\n with line ends \0"
LIMIT = 1000


def escaped(text: str) -> str:
    """A name in Content-Disposition as the WHATWG HTML standard has browsers write it."""
    return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


def part(
    content: bytes = PHOTO, *, name: str = FIELD, filename: str | None = "a.jpg", more: str = ""
) -> bytes:
    head = f'Content-Disposition: form-data; name="{escaped(name)}"'
    if filename is not None:
        head += f'; filename="{escaped(filename)}"\r\nContent-Type: image/jpeg'
    return f"{head}{more}\r\n\r\n".encode() + content


def form(*parts: bytes, boundary: str = BOUNDARY, before: bytes = b"", after: bytes = b"\r\n") -> bytes:
    line = b"--" + boundary.encode()
    return before + b"".join(line + b"\r\n" + one + b"\r\n" for one in parts) + line + b"--" + after


def parsed(body: bytes, content_type: str = FORM, max_bytes: int = LIMIT) -> Upload:
    return parse_upload(content_type, body, max_bytes=max_bytes)


def refused(body: bytes, content_type: str = FORM) -> str:
    with pytest.raises(MalformedUpload) as caught:
        parsed(body, content_type)
    return str(caught.value)


def by_curl(filename: str) -> tuple[str, bytes]:
    boundary = "------------------------d74496d66958873e"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{escaped(filename)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    return f"multipart/form-data; boundary={boundary}", body + PHOTO + f"\r\n--{boundary}--\r\n".encode()


def by_old_curl(filename: str) -> tuple[str, bytes]:
    """Before 7.81 curl put a backslash before quotes and backslashes, if there was a quote."""
    boundary = "------------------------d74496d66958873e"
    quoted = filename.replace("\\", "\\\\").replace('"', '\\"') if '"' in filename else filename
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{quoted}"\r\n\r\n'
    return (
        f"multipart/form-data; boundary={boundary}",
        body.encode() + PHOTO + f"\r\n--{boundary}--\r\n".encode(),
    )


def by_browser(filename: str) -> tuple[str, bytes]:
    return FORM, form(part(filename=filename))


def by_requests(filename: str) -> tuple[str, bytes]:
    request = requests.Request("POST", "http://localhost/", files={"image": (filename, PHOTO)}).prepare()
    assert isinstance(request.body, bytes)
    return str(request.headers["Content-Type"]), request.body


@pytest.mark.parametrize("client", [by_curl, by_old_curl, by_browser, by_requests])
@pytest.mark.parametrize(
    "filename",
    [
        "IMG_8932.png",
        "my holiday photo.jpeg",
        " spaces at both ends ",
        "naïve façade.png",
        "\N{CAT FACE}\N{ZERO WIDTH JOINER}.webp",
        "写真.jpg",
        'a "quoted" name.png',
        '"',
        "semi;colon=equals.png",
        "it's.png",
        "back\\slash.png",
        "slash/es/../photo.png",
        "../../etc/passwd",
        "100%.png",
        "50%20off.png",
        "no extension",
        ".hidden",
        "x" * MAX_FILENAME,
        "\N{CAT FACE}" * MAX_FILENAME,
        '"' * MAX_FILENAME,
    ],
)
def test_every_client_gets_its_file_name_kept(
    client: Callable[[str], tuple[str, bytes]], filename: str
) -> None:
    content_type, body = client(filename)
    assert parsed(body, content_type) == Upload(filename, PHOTO)


@pytest.mark.parametrize("filename", ["line\nfeed.png", "carriage\rreturn.png"])
def test_line_ends_in_a_name_survive_their_escapes(filename: str) -> None:
    assert parsed(form(part(filename=filename))).filename == filename


@pytest.mark.parametrize("filename", ["C:\\Users\\me\\photo.png", "\\\\server\\share\\photo.png"])
def test_a_windows_path_is_reduced_to_its_file_name(filename: str) -> None:
    # Old browsers sent the whole path; the parser's rule.
    assert parsed(form(part(filename=filename))).filename == "photo.png"


@pytest.mark.parametrize(
    "body",
    [
        form(part(), before=b"This is a multipart message.\r\n"),
        form(part(), before=b"\r\n"),
        form(part(), after=b""),
        form(part(), after=b"\r\nThis is an epilogue.\r\n--" + BOUNDARY.encode() + b"\r\n"),
        form(part(b"a title", name="title", filename=None), part()),
        form(part(), part(b"a title", name="title", filename=None)),
        form(part(b"another", name="document", filename="b.pdf"), part()),
        form(part(), part(b"another", name="document", filename="b.pdf")),
        form(part(), part(b"", name="document", filename="")),
        form(part(), part(b"not a file", filename=None)),
        form(part(b"", filename=""), part()),
        form(part(name="Image", filename="b.jpg"), part()),
        form(part(name="image[]", filename="b.jpg"), part()),
        form(part(name='ima"ge', filename="b.jpg"), part()),
        form(part(more=f"\r\nContent-Length: {len(PHOTO)}\r\nX-More: yes")),
        form(part(more="; charset=no-such-charset")),
    ],
)
def test_only_the_file_in_the_field_counts(body: bytes) -> None:
    assert parsed(body) == Upload("a.jpg", PHOTO)


@pytest.mark.parametrize(
    "header",
    [
        'Content-Disposition: form-data; filename="a.jpg"; name="image"',
        "content-disposition: form-data; name=image; filename=a.jpg",
        "CONTENT-DISPOSITION:form-data;name=image;filename=a.jpg",
        'Content-Type: image/jpeg\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"',
    ],
)
def test_headers_of_a_part_may_be_spelt_in_other_ways(header: str) -> None:
    assert parsed(form(header.encode() + b"\r\n\r\n" + PHOTO)) == Upload("a.jpg", PHOTO)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=x", "x"),
        ('multipart/form-data; boundary="x"', "x"),
        ("multipart/form-data;boundary=x", "x"),
        ("Multipart/Form-Data; Boundary=x", "x"),
        ("multipart/form-data; charset=utf-8; boundary=x", "x"),
        ("multipart/form-data; boundary=x; charset=utf-8", "x"),
        ('multipart/form-data; boundary="a b:c?(d)"', "a b:c?(d)"),
        (f"multipart/form-data; boundary={'x' * 70}", "x" * 70),
        ("multipart/form-data; boundary=--", "--"),
    ],
)
def test_boundaries_may_be_spelt_in_other_ways(content_type: str, boundary: str) -> None:
    assert parsed(form(part(), boundary=boundary), content_type) == Upload("a.jpg", PHOTO)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "image/jpeg",
        "application/json",
        "application/x-www-form-urlencoded",
        f"multipart/mixed; boundary={BOUNDARY}",
        f"multipart/form-data2; boundary={BOUNDARY}",
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=another",
        f"multipart/form-data; boundary={BOUNDARY}x",
        f"multipart/form-data, boundary={BOUNDARY}",
        'multipart/form-data; boundary="\ud800"',
        'multipart/form-data; boundary="a\nb"',
    ],
)
def test_a_body_of_another_type_or_boundary_is_refused(content_type: str) -> None:
    assert "send multipart/form-data" in refused(form(part()), content_type)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "broken or incomplete"),
        (b"\r\n", "broken or incomplete"),
        (PHOTO, "broken or incomplete"),
        (form(part()).replace(b"\r\n", b"\n"), "broken or incomplete"),
        (form(b"Content-Type: image/jpeg\r\n\r\n" + PHOTO), "broken or incomplete"),
        (
            form(b'Content-Disposition: attachment; name="image"; filename="a"\r\n\r\nx'),
            "broken or incomplete",
        ),
        (
            form(b'Content-Disposition: form-data; name="image"; filename="\x81"\r\n\r\nx'),
            "file name cannot be read",
        ),
        (form(b"no header\r\n\r\n" + PHOTO), "broken or incomplete"),
        (form(part(more="\r\nContent-Length: 1")), "broken or incomplete"),
        (form(part(filename="x" * 5000)), "too long a part header"),
        (form(), "no file in the field 'image'"),
        (form(part(name="picture")), "no file in the field 'image'"),
        (form(part(name="IMAGE")), "no file in the field 'image'"),
        (form(part(filename=None)), "no file in the field 'image'"),
        (form(part(b"", filename="")), "no file in the field 'image'"),
        (form(part(b"")), "is empty"),
        (form(part(), part(filename="b.jpg")), "2 files"),
        (form(part(), part(b"", filename="b.jpg"), part()), "3 files"),
        (form(part(filename="x" * (MAX_FILENAME + 1))), "256 characters"),
        (form(part(filename="\N{CAT FACE}" * (MAX_FILENAME + 1))), "256 characters"),
    ],
)
def test_a_body_that_brings_no_picture_is_refused_with_the_reason(body: bytes, says: str) -> None:
    assert says in refused(body)


def test_a_file_without_a_name_is_a_file() -> None:
    assert parsed(form(part(filename=""))) == Upload("", PHOTO)


def test_a_body_cut_anywhere_is_refused() -> None:
    whole = form(part(b"a title", name="title", filename=None), part(), after=b"")
    assert parsed(whole) == Upload("a.jpg", PHOTO)
    for length in range(len(whole)):
        assert "broken or incomplete" in refused(whole[:length]), length


@pytest.mark.parametrize(("size", "fits"), [(LIMIT - 1, True), (LIMIT, True), (LIMIT + 1, False)])
def test_the_limit_is_the_last_size_that_fits(size: int, fits: bool) -> None:
    body = form(part(b"x" * size))
    if fits:
        assert len(parsed(body).content) == size
    else:
        with pytest.raises(UploadTooLarge, match=r"^The picture has 1,001 bytes; at most 1,000 are"):
            parsed(body)


def test_the_limit_is_of_the_picture_and_not_of_what_comes_with_it() -> None:
    body = form(part(b"y" * 2 * LIMIT, name="comment", filename=None), part(b"x" * LIMIT))
    assert len(parsed(body).content) == LIMIT


def test_an_upload_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed(form(part())).filename = "another"  # type: ignore[misc]  # what is tested is that it cannot


@pytest.mark.parametrize("others", [MAX_PARTS - 1, MAX_PARTS, 100_000])
def test_a_form_of_many_parts_is_bounded(others: int) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    file = b'--x\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\ncontent\r\n--x--\r\n'
    body = part * others + file
    if others < MAX_PARTS:
        assert parse_upload("multipart/form-data; boundary=x", body, max_bytes=10).content == b"content"
        return
    with pytest.raises(MalformedUpload, match="too many parts"):
        parse_upload("multipart/form-data; boundary=x", body, max_bytes=10)


def named(disposition: bytes) -> bytes:
    """A form with one part whose Content-Disposition has these parameters after `name`."""
    return form(b'Content-Disposition: form-data; name="image"; ' + disposition + b"\r\n\r\n" + PHOTO)


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b"filename*=utf-8''na%C3%AFve.png", "naïve.png"),
        (b"filename*=UTF-8'en'na%C3%AFve.png", "naïve.png"),
        (b"FileName* = utf-8''a%20b%3B.png", "a b;.png"),
        (b"filename*=iso-8859-1''na%EFve.png", "naïve.png"),
        (b"filename=\"nave.png\"; filename*=utf-8''na%C3%AFve.png", "naïve.png"),
        (b"filename*=utf-8''na%C3%AFve.png; filename=\"nave.png\"", "naïve.png"),
        (b"filename=\"=?utf-8?B?bmHDr3ZlLnBuZw==?=\"; filename*=utf-8''na%C3%AFve.png", "naïve.png"),
        (b'filename="=?utf-8?B?bmHDr3ZlLnBuZw==?="', "naïve.png"),
        (b'filename="=?ISO-8859-1?Q?na=EFve.png?="', "naïve.png"),
        (b'filename="=?utf-8?B?bmHDr3Y=?= =?utf-8?B?ZS5wbmc=?="', "naïve.png"),
        (b'filename="na%C3%AFve%20one.png"', "naïve one.png"),
        (b'filename="na\xefve \x80.png"', "naïve €.png"),
        ('filename="naïve.png"'.encode(), "naïve.png"),
        # These look like one of the forms, and are names.
        (b'filename="100%25 my%20photo.png"', "100%25 my%20photo.png"),
        (b'filename="%C3%A9%FF.png"', "%C3%A9%FF.png"),
        (b'filename="=?what?.png"', "=?what?.png"),
        (b"filename=\"a; filename*=utf-8''b.png\"", "a; filename*=utf-8''b.png"),
    ],
)
def test_names_are_taken_in_the_forms_that_clients_send(disposition: bytes, filename: str) -> None:
    assert parsed(named(disposition)) == Upload(filename, PHOTO)


@pytest.mark.parametrize(
    "disposition",
    [
        b"filename*=utf-8''na%EFve.png",
        b"filename*=utf-16''a",
        b"filename*=naive.png",
        b"filename*=utf-8'naive.png",
        b"filename*=",
        b'filename="=?utf-8?B?a?="',
        b'filename="=?no-such-charset?B?bmHDr3Y=?="',
        b'filename="=?utf-8?Q?=FF?="',
        b'filename="=?utf-7?Q?+2AA-?="',
        b'filename="=?unicode-escape?Q?=5Cud800?="',
        b'filename="\x81.png"',
    ],
)
def test_a_name_that_cannot_be_read_is_refused_with_a_sentence_about_it(disposition: bytes) -> None:
    assert refused(named(disposition)).startswith("The file name cannot be read")
