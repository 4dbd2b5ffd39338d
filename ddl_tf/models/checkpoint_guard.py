"""What a `.keras` file may hold before Keras is let to read it.

Keras imports whatever module a file names, and takes any class or function in it. So the file's configuration is read
first, and every class in it must be one that a face network is made of.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_cv_import import import_keras_cv

_MOST_CONFIG_BYTES = 64 << 20
# Models in models nest about twelve dicts and lists.
_MOST_LEVELS = 200
# Stored weights are not compressed.
_MOST_GROWTH = 4
_KERAS = re.compile(r"(keras|tf_keras)(\.[a-z]\w*)*")
# Of Keras's own classes those without functions, files, or names of other things in their configuration.
_NAMES = """
    Functional Sequential Model InputLayer Activation Add Average Concatenate Dot Maximum Minimum Multiply Subtract
    AlphaDropout AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization CenterCrop Conv1D Conv2D
    Conv3D Conv1DTranspose Conv2DTranspose Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D
    Dropout ELU EinsumDense Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalMaxPooling1D GlobalMaxPooling2D GroupNormalization Identity LayerNormalization LeakyReLU MaxPooling1D
    MaxPooling2D MaxPooling3D MultiHeadAttention Attention AdditiveAttention Normalization Permute PReLU ReLU
    RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D Softmax SpatialDropout1D
    SpatialDropout2D ThresholdedReLU UnitNormalization UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D SyncBatchNormalization Embedding Constant GlorotNormal GlorotUniform HeNormal HeUniform
    LecunNormal LecunUniform Ones Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros L1 L2
    L1L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm RadialConstraint Policy LossScaleOptimizerPolicy
    DTypePolicy
"""
_KERAS_CLASSES = frozenset(_NAMES.split())


def read_config(archive: zipfile.ZipFile, custom_objects: Mapping[str, type]) -> dict[str, Any]:
    """Read the configuration in a `.keras` file, and refuse (InputError, BadZipFile) what we would not have written."""
    for member in archive.infolist():
        if member.filename not in ("metadata.json", "config.json", "model.weights.h5"):
            raise InputError(f"it holds {member.filename[:60]!r} beside a model's configuration and weights")
        if member.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"its {member.filename} is compressed, which Keras does not do")
    if archive.getinfo("config.json").file_size > _MOST_CONFIG_BYTES:
        raise InputError("its config.json is larger than any network's")
    damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"{damaged} is damaged")
    try:
        config = json.loads(archive.read("config.json"))
    except RecursionError:
        raise InputError("its config.json is nested too deeply") from None
    if not isinstance(config, dict):
        raise InputError("its config.json is no model's")
    # The model is loaded without its optimizer and losses, so that Keras does not read them.
    objects = list(_objects({name: value for name, value in config.items() if name != "compile_config"}))
    if any(str(item.get(key)).startswith("keras_cv") for item in objects for key in ("module", "registered_name")):
        import_keras_cv()
    for item in objects:
        _check_object(item, custom_objects)
    return config


def _objects(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All dicts that Keras may make an object of, at any depth."""
    waiting: list[tuple[Any, int]] = [(config, 0)]
    while waiting:
        value, level = waiting.pop()
        if level > _MOST_LEVELS:
            raise InputError("its config.json is nested too deeply")
        if isinstance(value, dict):
            # Of a dict without a class Keras makes nothing, whatever module it names.
            if "class_name" in value or "registered_name" in value:
                yield value
            waiting += [(part, level + 1) for part in value.values()]
        elif isinstance(value, list):
            waiting += [(part, level + 1) for part in value]


def _check_object(item: dict[str, Any], custom_objects: Mapping[str, type]) -> None:
    class_name, registered_name, module = (item.get(key) for key in ("class_name", "registered_name", "module"))
    if not isinstance(class_name, str):
        raise InputError("its config.json has an object without the name of its class; save the model again")
    if class_name in ("__tensor__", "__keras_tensor__", "__numpy__", "__bytes__"):
        return
    # Keras looks for the registered name first, and imports the module only if there is none.
    looked_up = item.get("registered_name", class_name)
    if isinstance(looked_up, str):
        registered = tf.keras.utils.get_registered_object(looked_up)
        of_packages = isinstance(registered, type) and registered.__module__.split(".")[0] in ("ddl_tf", "keras_cv")
        if of_packages or looked_up in custom_objects:
            return
    of_keras = module is None or (isinstance(module, str) and _KERAS.fullmatch(module))
    if of_keras and class_name in _KERAS_CLASSES and registered_name in (None, class_name):
        return
    shown = ".".join(str(part)[:60] for part in (module, class_name) if part)
    alias = f" (registered as {str(registered_name)[:60]})" if registered_name not in (None, class_name) else ""
    raise InputError(
        f"it names {shown!r}{alias}, which is no layer of ddl_tf, KerasCV or Keras that a face network is made "
        "of, and may run anything; of a network of your own give load_checkpoint its classes as custom_objects"
    )


def check_weights(archive: zipfile.ZipFile, file_size: int) -> None:
    """Refuse (InputError) weights that take far more memory than the file has bytes, or that are in another file."""
    memory = 0
    with archive.open("model.weights.h5") as member, h5py.File(member, "r") as weights:
        groups: list[tuple[Any, int]] = [(weights, 0)]
        while groups:
            group, level = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"its weights hold a link, {name[:60]!r}")
                item = group[name]
                if isinstance(item, h5py.Group):
                    if level > _MOST_LEVELS:
                        raise InputError("its weights are nested too deeply")
                    groups.append((item, level + 1))
                elif item.external or item.is_virtual:
                    raise InputError(f"its weights {name[:60]!r} are in another file")
                else:
                    memory += item.size * item.dtype.itemsize
                if memory > _MOST_GROWTH * file_size:
                    raise InputError(f"its weights would take {memory:,} bytes, the file has {file_size:,}")
