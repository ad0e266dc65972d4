"""Damaged data files: read or refused with a sentence, and the process lives."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from fedbus.datasource.config import read
from fedbus.errors import FedbusError

path, target = map(Path, sys.argv[1:3])
whole = path.read_bytes()
warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
list(read(target, None, {}).batches())  # with all that it imports
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29,) * 2)
for seed in range(int(sys.argv[3])):
    rng = np.random.default_rng(seed)
    data = bytearray(whole)
    if seed % 4 == 0:
        data = data[: int(rng.integers(len(data)))]
    else:  # anywhere, at the beginning or at the end, where heads lie
        low, high = [(0, len(data)), (0, 200), (max(0, len(data) - 400), len(data))][seed % 4 - 1]
        for at in rng.integers(low, min(high, len(data)), int(rng.integers(1, 5))):
            data[at] ^= 1 << int(rng.integers(8))
    path.unlink()  # a file that is written to while it is open is refused for that
    path.write_bytes(data)
    try:
        list(read(target, None, {}).batches())
        print("read")
    except FedbusError as error:
        assert str(error)
        print("refused")
"""


def table(folder: Path) -> Path:
    """Write a Parquet file with lists, dictionaries and compressed pages."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(1)
    columns = {
        "a": rng.normal(size=120),
        "b": rng.integers(0, 9, 120),
        "l": [[float(n) for n in row] for row in rng.normal(size=(120, 4))],
        "y": rng.integers(0, 3, 120),
    }
    parquet.write_table(arrow.table(columns), folder / "d.parquet", row_group_size=50)
    return folder / "d.parquet"


def picture(folder: Path, suffix: str) -> Path:
    """Write one picture of a class."""
    image = pytest.importorskip("PIL.Image")
    (folder / "d" / "class").mkdir(parents=True)
    path = folder / "d" / "class" / f"p.{suffix}"
    pixels = np.random.default_rng(1).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    image.fromarray(pixels).save(path)
    return path


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("kind", ["npz", "parquet", "png", "jpg", "tif", "gif", "webp", "bmp"])
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    """Most of them go into native code. In a process of its own, which must end by itself."""
    target = tmp_path / "d"
    if kind == "npz":
        path = target = tmp_path / "d.npz"
        np.savez_compressed(path, x=np.ones((40, 6), "f4"), y=np.arange(40) % 3)
    elif kind == "parquet":
        path = target = table(tmp_path)
    else:
        path = picture(tmp_path, kind)
    count = 120 if kind in {"npz", "parquet"} else 40
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(target), str(count)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split().count("refused") > count // 10
    assert len(done.stdout.split()) == count


@pytest.mark.skipif(not find_spec("PIL"), reason="no Pillow")
def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A few bytes of PNG may stand for gigabytes."""
    import struct
    import zlib

    from fedbus.datasource.config import read
    from fedbus.errors import TrainingError

    path = picture(tmp_path, "png")
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    data = bytearray(path.read_bytes())
    data[12 : 12 + len(chunk)] = chunk
    struct.pack_into(">I", data, 12 + len(chunk), zlib.crc32(chunk))
    path.write_bytes(data)
    with pytest.raises(TrainingError, match=r"p\.png: .*(pixels|decompression bomb)"):
        list(read(tmp_path / "d", None, {}).batches())
