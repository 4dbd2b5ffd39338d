from .cfp import cfp_source
from .folders import csv_source, folder_source
from .recordio import recordio_source
from .scface import scface_source
from .source import Problem, Sample, Source

__all__ = [
    "Problem",
    "Sample",
    "Source",
    "cfp_source",
    "csv_source",
    "folder_source",
    "recordio_source",
    "scface_source",
]
