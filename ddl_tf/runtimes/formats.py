"""The formats that a model is converted to, by name."""

# Of TensorFlow Lite files.
PRECISIONS = ("float32", "float16", "dynamic", "int8")
FORMATS = (
    "onnx",
    "onnx_int8",
    "openvino",
    "openvino_bfloat16",
    "openvino_int8",
    *(f"tflite_{precision}" for precision in PRECISIONS),
)
# Images set the ranges of their activations.
CALIBRATED = tuple(name for name in FORMATS if name.endswith("_int8"))
# They need nothing but a model.
USUAL_FORMATS = ["onnx", "tflite_float32", "tflite_float16", "tflite_dynamic"]
