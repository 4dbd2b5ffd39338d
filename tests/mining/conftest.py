from tiny_network import tiny_network  # noqa: F401
