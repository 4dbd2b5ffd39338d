import io

import pytest
from pair_sets import assert_same_numbers, embed
from PIL import Image
from tiny_sets import noise_face

from ddl_tf.evaluation.pairs import verify
from ddl_tf.miniatures import pairs as miniature_pairs
from ddl_tf.protocols.pair_sets import read_bin, read_lfw


@pytest.mark.parametrize("layout", ["lfw", "cfp", "calfw", "cplfw", "agedb", "xqlfw", "rfw", "bin"])
def test_same_seed_same_files(tmp_path, monkeypatch, layout):
    if layout != "lfw":
        monkeypatch.setattr(miniature_pairs, "render", noise_face)
    write = getattr(miniature_pairs, f"write_{layout}")
    miniature_pairs._draw.cache_clear()
    write(tmp_path / "a", seed=1)
    miniature_pairs._draw.cache_clear()
    write(tmp_path / "b", seed=1)
    write(tmp_path / "c", seed=2)
    miniature_pairs._draw.cache_clear()
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    a, b, c = ({path: (tmp_path / name / path).read_bytes() for path in files} for name in "abc")
    # SciPy puts the time into the head of a MATLAB file.
    assert not [path for path in files if path.suffix != ".mat" and a[path] != b[path]]
    images = [path for path in files if path.suffix in (".jpg", ".bin")]
    assert images
    assert all(a[path] != c[path] for path in images)
    assert all(Image.open(io.BytesIO(a[path])).size == (112, 112) for path in files if path.suffix == ".jpg")


def test_lfw_is_the_bin(tmp_path):
    miniature_pairs.write_lfw(tmp_path)
    miniature_pairs.write_bin(tmp_path)
    listed = read_lfw(str(tmp_path / "lfw"), str(tmp_path / "pairs.txt"))
    binned = read_bin(str(tmp_path / "lfw.bin"))
    assert [listed.images[k] for k in listed.first] == [binned.images[k] for k in binned.first]
    assert_same_numbers(*(verify(pair_set, embed(pair_set.images)) for pair_set in (listed, binned)))
