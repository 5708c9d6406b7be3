"""The benchmarks still run, and measure what they say."""

import hashlib
import re
import subprocess
import sys
from io import BytesIO

import pytest
import requests
from PIL import Image, ImageStat

from benchmarks.service.throughput import KINDS, ROOT, BenchmarkFailed, local_service, main, measure, photo
from chalicelib.settings import Settings


@pytest.mark.parametrize(("width", "height"), KINDS.values())
def test_a_photo_is_always_the_same_and_may_be_uploaded(width: int, height: int) -> None:
    content = photo(width, height, seed=1)
    limit = Settings.from_env({"BUCKET": "pictures", "REDIS_URL": "redis://cache"}).max_upload_bytes
    assert len(content) < limit
    assert Image.open(BytesIO(content)).size == (width, height)
    assert hashlib.sha256(content).digest() == hashlib.sha256(photo(width, height, seed=1)).digest()
    assert content != photo(width, height, seed=2)


def test_a_photo_is_as_hard_to_compress_as_a_cameras() -> None:
    width, height = KINDS["2 megapixels"]
    content = photo(width, height, seed=1)
    # Cameras write 1.5 to 4 bits a pixel at their usual qualities.
    assert 1.5 < len(content) * 8 / (width * height) < 4
    assert min(ImageStat.Stat(Image.open(BytesIO(content))).stddev) > 10


@pytest.mark.slow
def test_throughput_prints_a_row_for_each_kind_of_photo() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.service.throughput", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if re.match(r"\| \d", line)
    ]
    assert [cells[0] for cells in rows] == list(KINDS)
    for _, kilobytes, rate, p50, p95, imaging, share in rows:
        assert float(kilobytes.replace(",", "")) > 1
        assert float(rate) > 0
        assert 0 < float(p50) <= float(p95)
        assert float(imaging) > 0
        assert abs(float(share.removesuffix(" %")) - 100 * float(imaging) / float(p50)) < 2
    assert float(rows[-1][5]) > float(rows[0][5]), "the larger picture takes imaging longer"


@pytest.mark.slow
def test_throughput_counts_each_upload_and_leaves_nothing_behind() -> None:
    with local_service() as url:
        api = f"{url}/api/v1/thumbnail"
        times = measure(api, [photo(300, 362, seed=1)], count=3, clients=2)
        assert requests.get(api, timeout=10).json() == []
        with pytest.raises(BenchmarkFailed, match="415"):
            measure(api, [b"no picture"], count=1, clients=1)
    assert (len(times.waves), len(times.to_ready), len(times.imaging)) == (2, 3, 3)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)


@pytest.mark.parametrize(
    "arguments", [["--count", "1"], ["--count", "many"], ["--clients", "0"], ["--clients", "33"]]
)
def test_throughput_is_bounded(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "must be from" in capsys.readouterr().err


def test_throughput_says_in_a_sentence_that_nobody_answers() -> None:
    with pytest.raises(SystemExit, match=r"^Stopped: "):
        main(["--quick", "--url", "http://127.0.0.1:9"])
