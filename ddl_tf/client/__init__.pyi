from .client import Client
from .errors import ServingError

__all__ = ["Client", "ServingError"]
