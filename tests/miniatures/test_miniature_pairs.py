import numpy as np
import pytest
from tiny_sets import noise_face

from ddl_tf.miniatures import pairs as miniature_pairs
from ddl_tf.protocols.pair_sets import read_bin, read_lfw


@pytest.mark.parametrize("layout", ["lfw", "cfp", "calfw", "cplfw", "agedb", "xqlfw", "rfw", "bin"])
def test_same_seed_same_files(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(miniature_pairs, "render", noise_face)
    for name in "abc":
        miniature_pairs._draw.cache_clear()
        getattr(miniature_pairs, f"write_{layout}")(tmp_path / name, seed=1 + (name == "c"))
    miniature_pairs._draw.cache_clear()
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    a, b, c = ({path: (tmp_path / name / path).read_bytes() for path in files} for name in "abc")
    # SciPy puts the time into the head of a MATLAB file.
    assert not [path for path in files if path.suffix != ".mat" and a[path] != b[path]]
    images = [path for path in files if path.suffix in (".jpg", ".bin")]
    assert images
    assert all(a[path] != c[path] for path in images)
    if layout == "lfw":
        # The same pairs are in the list and in the .bin file.
        miniature_pairs.write_bin(tmp_path, seed=2)
        miniature_pairs._draw.cache_clear()
        listed = read_lfw(str(tmp_path / "c/lfw"), str(tmp_path / "c/pairs.txt"))
        binned = read_bin(str(tmp_path / "lfw.bin"))
        for side in ("first", "second"):
            photos = [[part.images[k] for k in getattr(part, side)] for part in (listed, binned)]
            assert photos[0] == photos[1]
        np.testing.assert_array_equal(listed.same, binned.same)
