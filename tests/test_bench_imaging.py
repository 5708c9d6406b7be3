"""The imaging benchmark: its arithmetic, and that it runs."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from benchmarks.imaging import speed
from benchmarks.imaging.corpus import SAMPLES, photo
from benchmarks.imaging.measure import Result, ratio
from benchmarks.imaging.similarity import ssim

ROOT = Path(__file__).parent.parent


def test_ratios_are_taken_round_by_round() -> None:
    of_rounds = ratio([1, 20, 300, 4, 5], [2, 10, 100, 4, 5])
    assert (of_rounds.low, of_rounds.median, of_rounds.high) == (1, 1, 2)


@pytest.mark.parametrize(
    ("pyvips", "sharp", "expected"),
    [
        ([4.0, 4.0, 1.0], [3.0, 3.0, 9.0], 2),
        ([2.0, 2.0, 9.0], [3.0, 3.0, 1.0], 3),
        (None, [6.0, 6.0, 6.0], 1),
    ],
)
def test_the_faster_alternative_is_the_one_of_the_lower_median(
    pyvips: list[float] | None, sharp: list[float], expected: float
) -> None:
    seconds = {"service": [6.0, 6.0, 6.0], "sharp": sharp} | ({"pyvips": pyvips} if pyvips else {})
    to_faster = Result(SAMPLES[0], seconds).to_faster()
    assert to_faster is not None
    assert to_faster.median == expected


def test_without_alternatives_there_is_nothing_to_compare_with() -> None:
    assert Result(SAMPLES[0], {"service": [1.0]}).to_faster() is None


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    picture = photo((64, 64))
    assert ssim(picture, picture) == pytest.approx(1)


def test_ssim_falls_more_with_noise_than_with_blur_and_hardly_with_brightness() -> None:
    picture = photo((100, 100))
    noise = Image.frombytes("RGB", picture.size, random.Random(1).randbytes(100 * 100 * 3))
    noisy = Image.blend(picture, noise, 0.5)
    blurred = ssim(picture, picture.filter(ImageFilter.GaussianBlur(1)))
    brighter = ssim(picture, picture.point(lambda value: min(255, value + 4)))
    assert ssim(picture, noisy) < blurred < brighter


def test_ssim_meets_the_formula_on_flat_pictures() -> None:
    # Without structure only the luminance term is left: (2xy + C1) / (x^2 + y^2 + C1).
    one, other = Image.new("L", (20, 20), 100), Image.new("L", (20, 20), 150)
    c1 = (0.01 * 255) ** 2
    assert ssim(one, other) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_the_corpus_is_the_same_every_time_and_weighs_like_photos(tmp_path: Path) -> None:
    picture = photo((800, 600), seed=3)
    assert picture.tobytes() == photo((800, 600), seed=3).tobytes()
    assert picture.tobytes() != photo((800, 600), seed=4).tobytes()
    picture.save(tmp_path / "photo.jpg", quality=90)
    bits = (tmp_path / "photo.jpg").stat().st_size * 8 / (800 * 600)
    assert 1 < bits < 5  # bits per pixel of a camera's files


def test_the_page_keeps_what_stands_around_the_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    monkeypatch.setattr(speed, "PAGE", page)
    speed.write("first")
    page.write_text(page.read_text().replace("# Performance", "# Performance\n\nBefore.") + "\nAfter.\n")
    speed.write("second")
    text = page.read_text()
    assert "first" not in text
    assert text.index("Before.") < text.index("second") < text.index("After.")


@pytest.mark.slow
def test_the_quick_benchmark_prints_every_table() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks.imaging.speed", "--quick", "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title in ("Time", "Memory", "Similarity and size", "Throughput"):
        assert f"### {title}\n" in done.stdout
    assert done.stdout.count("\n| JPEG 2 MP |") == 3
