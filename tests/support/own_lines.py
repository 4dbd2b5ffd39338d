"""What a process says itself on stderr."""

import re

# TensorFlow 2.21 says these whatever TF_CPP_MIN_LOG_LEVEL is: https://github.com/tensorflow/tensorflow/issues/100442
_START_UP = re.compile(r"WARNING: All log messages before absl::InitializeLog|I0000 .*(port|cudart_stub)\.cc:")


def own_lines(stderr):
    """The lines less TensorFlow's own start-up messages."""
    return [line for line in stderr.splitlines() if not _START_UP.match(line)]
