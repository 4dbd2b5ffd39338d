"""The batches of `ddl_tf.data.pipeline.training_dataset`."""

import json
import sys
import time

from measuring import measure

from ddl_tf.data import AugmentationSettings, Faces, StreamSampler, StreamSizes, build_augmentation, training_dataset

settings = json.loads(sys.argv[1])
begin = time.perf_counter()
faces = Faces([settings["data"]])
sampler = StreamSampler(faces.index, StreamSizes(shuffled=settings["batch_size"]))
size = (settings["image_size"],) * 2
dataset = training_dataset(
    faces, sampler, build_augmentation(AugmentationSettings(flip=settings["flip"])), size, 0, 10**9
)
measure(begin, dataset, settings["batch_size"], settings["seconds"])
