"""`prepare_dataset` of Keras_insightface's data.py, read from a checkout, over a folder for each identity."""

import glob
import importlib.util
import json
import sys
import time
import types

from measuring import measure

settings = json.loads(sys.argv[1])
# It lists files by glob2, whose patterns here glob has too, and imports scikit-image for what is not run here.
sys.modules.setdefault("glob2", glob)
if importlib.util.find_spec("skimage") is None:
    sys.modules["skimage"], sys.modules["skimage.io"] = types.ModuleType("skimage"), types.ModuleType("skimage.io")
    sys.modules["skimage.io"].imread = None
sys.path.insert(0, settings["keras_insightface"])
import data  # noqa: E402

begin = time.perf_counter()
# In its words: -1 augments nothing, 0 flips.
dataset, _ = data.prepare_dataset(
    settings["images_root"],
    batch_size=settings["batch_size"],
    img_shape=(settings["image_size"],) * 2,
    random_status=0 if settings["flip"] else -1,
)
measure(begin, dataset.repeat(), settings["batch_size"], settings["seconds"])
