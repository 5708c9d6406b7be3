"""Forms of any kind: what clients send comes back, and no bytes raise anything but the service's errors."""

from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata

from chalicelib.errors import MalformedUpload, UploadTooLarge
from chalicelib.http.multipart import FIELD, MAX_FILENAME
from chalicelib.work.upload import Upload
from tests.test_multipart import BOUNDARY, FORM, LIMIT, form, parsed, part


def comes_back(name: str) -> bool:
    """Whether a form can carry the name: its escapes have no escape, and of Windows paths see above."""
    return not any(escape in name for escape in ("%22", "%0A", "%0D")) and not (
        name[1:3] == ":\\" or name[:2] == "\\\\"
    )


TROUBLE = st.sampled_from("\"\\/%;='\r\n\t\0 .02AD")
names = st.text(st.characters(exclude_categories=["Cs"]) | TROUBLE, max_size=MAX_FILENAME).filter(comes_back)
contents = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\r\n\r\n", f"--{BOUNDARY[:-1]}".encode()]),
    min_size=1,
).map(b"".join)


@given(names, contents.filter(bool))
@example("a\\", b"x")
def test_what_a_browser_sends_comes_back_identical(filename: str, content: bytes) -> None:
    assert parsed(form(part(content, filename=filename)), max_bytes=10**6) == Upload(filename, content)


@given(names, contents.filter(bool))
def test_what_requests_sends_comes_back_identical(filename: str, content: bytes) -> None:
    body, content_type = encode_multipart_formdata({"title": "a title", FIELD: (filename, content)})
    assert parsed(body, content_type, max_bytes=10**6) == Upload(filename, content)


def survives(content_type: str, body: bytes) -> None:
    """No input is answered by any other exception than the two that clients are told about."""
    try:
        upload = parsed(body, content_type)
    except (MalformedUpload, UploadTooLarge):
        return
    assert 0 < len(upload.content) <= LIMIT
    assert len(upload.filename) <= MAX_FILENAME


@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise_anything_else(body: bytes) -> None:
    survives(FORM, body)


PIECES = [
    b"--",
    b"\r\n",
    b"\n",
    b" ",
    b":",
    b";",
    b'"',
    b"\\",
    b"x" * (LIMIT + 1),
    BOUNDARY.encode(),
    f"--{BOUNDARY}\r\n".encode(),
    f"\r\n--{BOUNDARY}\r\n".encode(),
    f"\r\n--{BOUNDARY}--".encode(),
    b"Content-Disposition: form-data",
    b'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
    b"; name=image",
    b'; filename="',
    b"Content-Length: ",
    b"Content-Type: text/plain; charset=",
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join))
def test_no_pieces_of_a_form_raise_anything_else(body: bytes) -> None:
    survives(FORM, body)


@given(st.integers(min_value=0, max_value=len(form(part()))), st.integers(0, 4), st.binary(max_size=4))
def test_no_damage_to_a_form_raises_anything_else(position: int, length: int, instead: bytes) -> None:
    whole = form(part())
    survives(FORM, whole[:position] + instead + whole[position + length :])


@given(
    st.text(st.characters(), max_size=100).map("multipart/form-data; boundary={}".format)
    | st.text(st.characters(), max_size=100).map('multipart/form-data; boundary="{}"'.format)
    | st.text(st.characters(), max_size=100)
    | st.binary(max_size=100).map(lambda header: header.decode("latin-1"))
)
def test_no_content_type_at_all_raises_anything_else(content_type: str) -> None:
    survives(content_type, form(part()))
