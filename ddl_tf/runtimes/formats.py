"""The formats that a model is converted to, by name."""

# Of TensorFlow Lite files.
PRECISIONS = ("float32", "float16", "dynamic", "int8")
FORMATS = ("onnx", *(f"tflite_{precision}" for precision in PRECISIONS))
