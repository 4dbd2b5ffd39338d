import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from own_lines import own_lines
from PIL import Image
from tiny_sets import picture, write_recordio

from ddl_tf import prepare
from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.images.decoding import decode_image
from ddl_tf.protocols.pair_sets import read_stored


def test_refused_as_a_user_meets_it_then_skipped_and_verified(tmp_path, monkeypatch, capsys):
    """A RecordIO set whose third image is cut and whose identity 2 has no image."""
    monkeypatch.chdir(tmp_path)
    images = [(0, picture(0)), (0, picture(1)), (1, picture(2)[:-99]), (1, picture(3))]
    write_recordio(tmp_path, images, num_identities=3)
    command = [sys.executable, "-m", "ddl_tf.prepare", "recordio", "--rec=train.rec", "--output=faces"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    # One line that says what is wrong, where, and what to do; on a busy machine the progress is reported before.
    *progress, line = own_lines(refused.stderr)
    assert all(before.startswith("import: ") for before in progress)
    assert line.startswith("python -m ddl_tf.prepare: error: train.rec, record 3: corrupt image: ")
    assert line.endswith("--on_error=skip")
    assert not (tmp_path / "faces").exists()
    prepare.recordio(prepare.RecordIOSettings(rec="train.rec", output="faces", on_error="skip"))
    printed = capsys.readouterr()
    stored = "stored 3 images of 2 identities in faces (0.0 MB)"
    assert printed.out == f"{stored}; left out: 1 corrupt image, 1 empty identity\n"
    assert [line.split(": ")[:3] for line in printed.err.splitlines()] == [
        ["skipped", "train.rec, record 3", "corrupt image"],
        ["skipped", "train.rec, identity 2", "empty identity"],
    ]
    assert prepare.verify(prepare.VerifySettings(input="faces")) == 0
    shard = tmp_path / "faces/shard-00000.tfrecord"
    content = bytearray(shard.read_bytes())
    content[200] ^= 1
    shard.write_bytes(content)
    assert prepare.verify(prepare.VerifySettings(input="faces")) == 1
    assert "faces/shard-00000.tfrecord: damaged shard: corrupted record at 12; " in capsys.readouterr().err


def test_importers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_recordio(tmp_path, [(0, picture(0)), (1, picture(1))])
    (tmp_path / "people/ann").mkdir(parents=True)
    (tmp_path / "people/ann/1.jpg").write_bytes(picture(2))
    (tmp_path / "faces.csv").write_text("path,identity,yaw\npeople/ann/1.jpg,ann,3\n")
    prepare.recordio(prepare.RecordIOSettings(output="a", rec="train.rec"))
    prepare.folder(prepare.FolderSettings(output="b", root="people"))
    prepare.csv(prepare.CSVSettings(output="c", csv="faces.csv", image_size=8))
    assert len(capsys.readouterr().out.splitlines()) == 3
    faces = Faces(["a", "b", "c"])
    assert faces.read(np.arange(3)) == [picture(0), picture(1), picture(2)]
    assert faces.image(3).shape == (8, 8, 3)
    assert faces.index["identity"].tolist() == [0, 1, 2, 3]
    made_by = json.loads((tmp_path / "c/dataset.json").read_text())["made_by"]
    assert made_by["settings"] == {"image_size": 8, "shard_mb": 128, "csv": "faces.csv", "root": None}
    for main, settings_class in [prepare.COMMANDS[name] for name in set(prepare.COMMANDS) - {"synthetic", "weights"}]:
        with pytest.raises(InputError, match=r"--\w+ is missing"):
            main(settings_class())


def test_cfp(real_faces, tmp_path):
    root = str(real_faces / "cfp")
    prepare.cfp(prepare.CFPSettings(output=str(tmp_path / "train"), root=root, folds=[1]))
    index = Faces([str(tmp_path / "train")]).index
    assert index.groupby("group")["view"].agg(["size", "first"]).values.tolist() == [[500, "frontal"], [200, "profile"]]
    prepare.cfp_pairs(prepare.CFPPairsSettings(output=str(tmp_path / "pairs"), root=root, protocol="FP", folds=[4]))
    assert read_stored(str(tmp_path / "pairs")).same.sum() == 350


def test_a_bin_of_photos_of_a_phone(tmp_path):
    """Phones write MPO: a JPEG, with a second one behind it."""
    photos = []
    for colour in range(0, 160, 40):
        file, more = io.BytesIO(), [Image.new("RGB", (8, 8))]
        Image.new("RGB", (16, 12), (colour, 90, 30)).save(file, "MPO", save_all=True, append_images=more)
        photos.append(file.getvalue())
    (tmp_path / "phone.bin").write_bytes(pickle.dumps((photos, [True, False])))
    prepare.bin(prepare.BinSettings(output=str(tmp_path / "phone"), bin=str(tmp_path / "phone.bin")))
    stored = read_stored(str(tmp_path / "phone"))
    assert sorted(stored.images) == sorted(photos)
    assert stored.same.tolist() == [True, False]
    assert decode_image(stored.images[0]).shape[:2] == (12, 16)
