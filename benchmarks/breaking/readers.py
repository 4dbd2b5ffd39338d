"""Every reader of files of strangers and users, with an input that it takes."""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from breaking.trial import Target
from ddl_tf.data.integrity import find_faults
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.evaluation.megaface_settings import MegaFaceSettings, face_images
from ddl_tf.gallery.photos import csv_photos, face_bytes, folder_photos, split_problems
from ddl_tf.importers.cfp import cfp_source
from ddl_tf.importers.folders import csv_source, folder_source
from ddl_tf.importers.recordio import recordio_source
from ddl_tf.importers.scface import read_subjects, scface_source
from ddl_tf.importers.source import Problem, Source
from ddl_tf.miniatures import ijb as miniature_ijb
from ddl_tf.miniatures import megaface as miniature_megaface
from ddl_tf.miniatures import pairs as miniature_pairs
from ddl_tf.miniatures import scface as miniature_scface
from ddl_tf.miniatures import tinyface as miniature_tinyface
from ddl_tf.mining.image_columns import read_columns
from ddl_tf.models.checkpoints import load_checkpoint, save_checkpoint
from ddl_tf.models.onnx_network import convert_onnx
from ddl_tf.models.recognizer import build_recognizer
from ddl_tf.models.torch_weights import read_state_dict
from ddl_tf.protocols.feature_files import read_feature, write_feature
from ddl_tf.protocols.ijb import read_ijb
from ddl_tf.protocols.pair_csv import read_pair_csv
from ddl_tf.protocols.pair_lists import read_agedb, read_calfw, read_cplfw, read_xqlfw
from ddl_tf.protocols.pair_sets import PairSet, pair_source, pairs_table, read_bin, read_cfp, read_lfw, read_stored
from ddl_tf.protocols.rfw import read_rfw
from ddl_tf.protocols.scface import read_scface
from ddl_tf.protocols.tinyface import read_tinyface
from ddl_tf.reporting.evaluations import read_evaluation

# The tests' writers of the formats of MXNet and PyTorch, which need neither.
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from insightface_state import write_pth
from onnx_builder import Network, end
from tiny_sets import picture, write_recordio

_PEOPLE = ("ann", "bob", "cy d")


def _write_people(folder: Path) -> None:
    for number in range(9):
        person = folder / "people" / _PEOPLE[number // 3]
        person.mkdir(parents=True, exist_ok=True)
        suffix = "png" if number % 2 else "jpg"
        (person / f"{number}.{suffix}").write_bytes(picture(number, image_format="PNG" if number % 2 else "JPEG"))


def _people_files() -> list[str]:
    return [f"people/{_PEOPLE[n // 3]}/{n}.{'png' if n % 2 else 'jpg'}" for n in range(9)]


def _write_csv(folder: Path) -> None:
    _write_people(folder)
    rows = [f"{path},{path.split('/')[1]},{n % 2},{n * 1.5},{n}" for n, path in enumerate(_people_files())]
    (folder / "faces.csv").write_text("\n".join(["path,identity,group,yaw,number", *rows]) + "\n")
    photos = [f"{path},{path.split('/')[1]}," + ",".join(map(str, range(3, 13))) for path in _people_files()]
    header = "path,person," + ",".join(f"{axis}{n}" for n in range(1, 6) for axis in "xy")
    (folder / "photos.csv").write_text("\n".join([header, *photos]) + "\n")


def _write_columns(folder: Path) -> None:
    rows = [f"{path},{n * 1.5}" for n, path in enumerate(_people_files())]
    (folder / "columns.csv").write_text("\n".join(["key,yaw", *rows]) + "\n")


def _write_pairs(folder: Path) -> None:
    _write_people(folder)
    files = _people_files()
    pairs = [(0, 1, 1), (3, 4, 1), (6, 7, 1), (0, 3, 0), (1, 6, 0), (4, 7, 0)]
    rows = [f"{files[a]},{files[b]},{same},{number % 2},{number}" for number, (a, b, same) in enumerate(pairs)]
    (folder / "pairs.csv").write_text("\n".join(["first,second,same,fold,yaw", *rows]) + "\n")


def _write_recordio(folder: Path) -> None:
    write_recordio(folder, [(float(n // 3), picture(n)) for n in range(9)])
    rows = [f"{n},{n % 2},{n * 0.5}" for n in range(1, 10)]
    (folder / "train.csv").write_text("\n".join(["index,group,yaw", *rows]) + "\n")


def _write_stored(folder: Path) -> None:
    _write_pairs(folder)
    pair_set = read_pair_csv(str(folder / "pairs.csv"))
    tables = {"pairs.parquet": pairs_table(pair_set)}
    write_set(pair_source(pair_set, "pairs", "pairs.csv"), StoreSettings(output=str(folder / "set")), tables=tables)


def _write_evaluation(folder: Path) -> None:
    from ddl_tf.evaluate import PairsSettings, pairs

    _write_pairs(folder)
    images = len(read_pair_csv(str(folder / "pairs.csv")).images)
    np.save(folder / "e.npy", np.random.default_rng(0).normal(size=(images, 8)))
    settings = {"embeddings": [str(folder / "e.npy")], "replicates": 40, "store": str(folder / "stored")}
    pairs(PairsSettings(pairs_csv=[str(folder / "pairs.csv")], **settings))


def _write_network(folder: Path) -> None:
    random = np.random.default_rng(0)
    state = {"conv.weight": random.normal(size=[4, 3, 2, 2]).astype(np.float32), "bn.count": np.array(12, np.int64)}
    write_pth(folder / "x.pth", state)


def _write_onnx(folder: Path) -> None:
    network = Network()
    image = network.add("Relu", network.conv("image", 3, 4, strides=[2, 2], pads=[1, 1, 1, 1]))
    network.write(folder / "x.onnx", end(network, image, 4, 5))


def _write_checkpoint(folder: Path) -> None:
    model = build_recognizer("plain_small", num_classes=2, embedding_size=4, input_shape=(32, 32, 3))
    save_checkpoint(model, folder / "x.keras")


def _read_images(pair_sets: list[PairSet]) -> None:
    """Readers of lists leave the images to whoever decodes them; that they can be read at all shows here."""
    for pair_set in pair_sets:
        for number in range(min(len(pair_set.images), 3)):
            _ = pair_set.images[number]


def _pairs(read: Callable[..., PairSet], *names: str) -> Callable[[Path, Path], None]:
    def run(source: Path, output: Path) -> None:
        _read_images([read(*(str(source / name) for name in names))])

    return run


def _stored(open_source: Callable[[Path], Source], skip: str = "refuse") -> Callable[[Path, Path], None]:
    def run(source: Path, output: Path) -> None:
        write_set(open_source(source), StoreSettings(output=str(output / "set")), skip)

    return run


def _drain(source: Source) -> None:
    for _ in source.read(0):
        pass


def _read_photos(of: Callable[[Path], list], source: Path, output: Path) -> None:
    photos, _ = split_problems(of(source))
    for photo in photos:
        face = face_bytes(photo, (32, 32))
        assert isinstance(face, (bytes, Problem))


def _read_faces(source: Path, output: Path) -> None:
    faces = Faces([str(source / "set")])
    faces.read(np.arange(len(faces)))


def _read_megaface(source: Path, output: Path) -> None:
    names = {"facescrub_list": "facescrub_lst", "megaface_list": "megaface_lst"}
    names |= {"facescrub_noises": "facescrub_noises.txt", "megaface_noises": "megaface_noises.txt"}
    names |= {name: name for name in ("facescrub_images", "megaface_images")}
    list(face_images(MegaFaceSettings(**{key: str(source / name) for key, name in names.items()}), check_images=True))


def _read_embeddings(source: Path, output: Path) -> None:
    from ddl_tf.evaluate import PairsSettings, pairs

    pairs(PairsSettings(pairs_csv=[str(source / "pairs.csv")], embeddings=[str(source / "e.npy")], replicates=40))


def _read_answer(source: Path, output: Path) -> None:
    from ddl_tf.client.rest import from_json

    path = source / "answer.json"
    if not path.is_file():
        return  # A server sends text; what stands at a file's place is not its business.
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return  # The transport answers for what is no JSON.
    from_json(value)


def _write_answer(folder: Path) -> None:
    (folder / "answer.json").write_text(json.dumps([[0.5, 1, -2.0], [1.0, 2.0, 3.0]]))


def _write_feature(folder: Path) -> None:
    write_feature(folder / "a.bin", np.linspace(-1, 1, 8).astype(np.float32))


def targets() -> Iterator[Target]:
    """List the readers."""
    yield Target(
        "prepare folder", _write_people, ("people/*/*",), _stored(lambda at: folder_source(str(at / "people")))
    )
    skipping = _stored(lambda at: csv_source(str(at / "faces.csv")), "skip")
    yield Target("prepare csv", _write_csv, ("faces.csv", "faces.csv", "people/*/*"), skipping)
    recordio = _stored(lambda at: recordio_source(str(at / "train.rec"), str(at / "train.csv")), "skip")
    yield Target("prepare recordio", _write_recordio, ("train.*", "property", "property"), recordio)
    yield Target("prepare pairs", _write_pairs, ("pairs.csv",), _pairs(read_pair_csv, "pairs.csv"))
    yield Target(
        "prepare cfp", miniature_pairs.write_cfp, ("Protocol/**/*.txt",), lambda at, _: _drain(cfp_source(str(at), [1]))
    )
    people = lambda at, _: _drain(scface_source(str(at), read_subjects(str(at / "test_subjects.txt"))))  # noqa: E731
    yield Target("prepare scface", miniature_scface.write_scface, ("test_subjects.txt",), people)
    yield Target("prepare weights", _write_network, ("x.pth",), lambda at, _: read_state_dict(at / "x.pth"))
    yield Target("ONNX", _write_onnx, ("x.onnx",), lambda at, _: convert_onnx(str(at / "x.onnx"), 127.5, 127.5))
    yield Target("prepare verify", _write_stored, ("set/*",), lambda at, _: list(find_faults(str(at / "set"))))
    yield Target("stored set", _write_stored, ("set/*",), _read_faces)
    yield Target("stored pairs", _write_stored, ("set/*",), lambda at, _: _read_images([read_stored(str(at / "set"))]))
    yield Target(".keras", _write_checkpoint, ("x.keras",), lambda at, _: load_checkpoint(at / "x.keras"))
    yield Target(".bin", miniature_pairs.write_bin, ("lfw.bin",), _pairs(read_bin, "lfw.bin"))
    yield Target("LFW", miniature_pairs.write_lfw, ("pairs.txt",), _pairs(read_lfw, "lfw", "pairs.txt"))
    cfp = lambda at, _: _read_images([read_cfp(str(at), "FP", [1, 2])])  # noqa: E731
    yield Target("CFP", miniature_pairs.write_cfp, ("Protocol/**/*.txt",), cfp)
    yield Target("CALFW", miniature_pairs.write_calfw, ("*.txt",), _pairs(read_calfw, ""))
    yield Target("CPLFW", miniature_pairs.write_cplfw, ("*.txt",), _pairs(read_cplfw, ""))
    yield Target("XQLFW", miniature_pairs.write_xqlfw, ("*.txt",), _pairs(read_xqlfw, ""))
    # Each MATLAB file takes a new process.
    yield Target("AgeDB-30", miniature_pairs.write_agedb, ("*.mat",), _pairs(read_agedb, ""), every=4)
    yield Target("RFW", miniature_pairs.write_rfw, ("test/txts/*/*",), lambda at, _: _read_images(read_rfw(str(at))))
    ijb = functools.partial(miniature_ijb.write_ijb, name="ijbc")
    yield Target("IJB-C", ijb, ("meta/*",), lambda at, _: read_ijb(str(at)))
    yield Target("MegaFace", miniature_megaface.write_megaface, ("*lst", "*noises.txt"), _read_megaface)
    yield Target("MegaFace's features", _write_feature, ("a.bin",), lambda at, _: read_feature(at / "a.bin"))
    scface = lambda at, _: read_scface(str(at), read_subjects(str(at / "test_subjects.txt")))  # noqa: E731
    yield Target("SCface", miniature_scface.write_scface, ("test_subjects.txt",), scface)
    tinyface = lambda at, _: read_tinyface(str(at))  # noqa: E731
    yield Target("TinyFace", miniature_tinyface.write_tinyface, ("**/*.mat",), tinyface, every=4)
    yield Target("--embeddings", _write_evaluation, ("e.npy",), _read_embeddings)
    yield Target("--columns", _write_columns, ("*.csv",), lambda at, _: read_columns([str(at / "columns.csv")]))
    yield Target(
        "stored evaluation", _write_evaluation, ("stored/*/*",), lambda at, _: read_evaluation("a", str(at / "stored"))
    )
    listed = functools.partial(_read_photos, lambda at: csv_photos(str(at / "photos.csv"), True))
    yield Target("gallery's CSV", _write_csv, ("photos.csv",), listed)
    of_folder = functools.partial(_read_photos, lambda at: folder_photos(str(at / "people"), True))
    yield Target("gallery's photos", _write_people, ("people/*/*",), of_folder)
    yield Target("server's JSON", _write_answer, ("answer.json",), _read_answer)
