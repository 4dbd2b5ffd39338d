from . import cleaning_report as cleaning_report
from . import sheets as sheets
from .cleaning import CleanRules, find_faults
from .columns import write_columns
from .degradation import Degradation, degraded_source, parse_degradation
from .groups import GroupRules, assign_groups
from .image_scan import scan_faces
from .labels import LabelRules
from .measuring import measure_faces
from .neighbours import nearest_identities
from .pairs import PairRules, mine_pairs, read_pairs, write_pairs
from .quality import measure_quality
from .rules import Rule
from .sheets import contact_sheet, distribution_figure
from .view import Viewer

__all__ = [
    "CleanRules",
    "Degradation",
    "GroupRules",
    "LabelRules",
    "PairRules",
    "Rule",
    "Viewer",
    "assign_groups",
    "contact_sheet",
    "degraded_source",
    "distribution_figure",
    "find_faults",
    "measure_faces",
    "measure_quality",
    "mine_pairs",
    "nearest_identities",
    "parse_degradation",
    "read_pairs",
    "scan_faces",
    "write_columns",
    "write_pairs",
]
