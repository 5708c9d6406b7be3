"""The service that `make run` starts, over HTTP, with nothing but its URL in hand."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import boto3
import pytest
from PIL import Image

from chalicelib import keys
from tests.conftest import picture
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CLIENTS = 6


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


def test_several_clients_at_once_each_live_a_full_life(service: Service) -> None:
    def client(number: int) -> None:
        for image_format in ("JPEG", "PNG", "WEBP"):
            content = picture(200 + number, 300, image_format=image_format, seed=number)
            uploaded = service.upload(content, f"client {number}.{image_format.lower()}")
            record = service.wait_for_end(uploaded["id"])
            assert record["ready"], record
            assert record["size"]["original"] == len(content)
            thumbnail = service("GET", f"/{record['id']}/download")
            assert len(thumbnail.content) == record["size"]["thumbnail"]
            with Image.open(BytesIO(thumbnail.content)) as image:
                assert (image.format, image.size) == ("JPEG", (100, 100))
            assert record in service("GET").json()
            assert service("DELETE", f"/{record['id']}").json() == record
            assert service("GET", f"/{record['id']}").status_code == 404

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    assert service("GET").json() == []


def test_a_broken_picture(service: Service) -> None:
    record = service.wait_for_end(service.upload(picture()[:500])["id"])
    assert record["ready"] is False
    reply = service("GET", f"/{record['id']}/download")
    assert (reply.status_code, reply.json()) == (422, {"error": record["error"]})
    assert service("DELETE", f"/{record['id']}").status_code == 200


def test_every_upload_of_a_burst_gets_its_thumbnail(service: Service) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        ids = [record["id"] for record in pool.map(lambda n: service.upload(picture(seed=n)), range(60))]
    eventually(lambda: all(record["ready"] for record in service("GET").json()), 30)
    listed = [record["id"] for record in service("GET").json()]
    assert sorted(listed) == sorted(ids)
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = list(pool.map(lambda i: service("DELETE", f"/{i}").status_code, ids))
    assert statuses == [200] * len(ids)


def test_other_servers_are_used_when_they_are_named(redis_url: str, s3_endpoint: str) -> None:
    s3 = boto3.client("s3")
    named = {"REDIS_URL": redis_url, "AWS_ENDPOINT_URL": s3_endpoint, "BUCKET": "named-pictures"}
    with Service(named) as first:
        record = first.wait_for_end(first.upload(picture())["id"])
        s3.upload_fileobj(BytesIO(picture()), "named-pictures", "originals/put straight+in.jpg")
        straight = first.wait_for_end(keys.record_id("originals/put straight+in.jpg"))
        assert (straight["filename"], straight["ready"]) == ("put straight+in.jpg", True)
        assert "in memory" not in first.output
    # They outlive the service, and so does what they hold.
    assert s3.head_object(Bucket="named-pictures", Key=f"originals/{record['id']}")["ContentLength"]
    with Service(named) as second:
        assert second("GET", f"/{record['id']}").json() == record


@pytest.mark.parametrize(
    ("settings", "size", "colour"),
    [
        ({"THUMBNAIL_SIZE": "64x32", "THUMBNAIL_FIT": "contain"}, (32, 32), (255, 255, 255)),
        ({"THUMBNAIL_SIZE": "64x32", "THUMBNAIL_BACKGROUND": "#ff0000"}, (64, 32), (255, 0, 0)),
    ],
)
def test_settings_are_obeyed(
    settings: dict[str, str], size: tuple[int, int], colour: tuple[int, ...]
) -> None:
    out = BytesIO()
    Image.new("RGBA", (500, 500), (0, 0, 0, 0)).save(out, "PNG")
    with Service({"MAX_UPLOAD_BYTES": "20000"} | settings) as service:
        record = service.wait_for_end(service.upload(out.getvalue(), "clear.png")["id"])
        with Image.open(BytesIO(service("GET", f"/{record['id']}/download").content)) as image:
            assert image.size == size
            pixel = image.getpixel((5, 5))
            assert isinstance(pixel, tuple)
            assert all(abs(have - want) < 4 for have, want in zip(pixel, colour, strict=True))
        assert service("POST", files={"image": ("big.jpg", picture() + bytes(20_000))}).status_code == 413
