from . import (
    client as client,
)
from . import (
    data as data,
)
from . import (
    evaluation as evaluation,
)
from . import (
    gallery as gallery,
)
from . import (
    importers as importers,
)
from . import (
    layers as layers,
)
from . import (
    losses as losses,
)
from . import (
    metrics as metrics,
)
from . import (
    mining as mining,
)
from . import (
    models as models,
)
from . import (
    protocols as protocols,
)
from . import (
    runtimes as runtimes,
)
from . import (
    serving as serving,
)
from . import (
    synthetic as synthetic,
)
from . import (
    training as training,
)

__version__: str

__all__ = [
    "client",
    "data",
    "evaluation",
    "gallery",
    "importers",
    "layers",
    "losses",
    "metrics",
    "mining",
    "models",
    "protocols",
    "runtimes",
    "serving",
    "synthetic",
    "training",
]
