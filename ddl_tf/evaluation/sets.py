"""The settings that choose verification sets, shared by the commands that evaluate."""

import dataclasses
from collections import Counter
from typing import Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.protocols.pair_csv import read_pair_csv
from ddl_tf.protocols.pair_lists import read_agedb, read_calfw, read_cplfw, read_xqlfw
from ddl_tf.protocols.pair_sets import PairSet, read_bin, read_cfp, read_lfw, read_stored
from ddl_tf.protocols.rfw import read_rfw, read_rfw_bins


@dataclasses.dataclass
class VerificationSets:
    """Which verification sets to evaluate on; a command's settings inherit these fields."""

    bin: list[str] = setting([], "InsightFace verification files (.bin), comma-separated.")
    cfp_root: Optional[str] = setting(None, "Folder of CFP: images/ and protocol/, or Data/ and Protocol/.")
    cfp_protocols: list[str] = setting(["FF", "FP"], "CFP protocols: FF (frontal-frontal), FP (frontal-profile).")
    cfp_folds: list[int] = setting(list(range(1, 11)), "CFP's official folds to evaluate on, of 1 to 10.")
    lfw_root: Optional[str] = setting(None, "Folder of LFW, a folder of images per person; needs --lfw_pairs.")
    lfw_pairs: Optional[str] = setting(None, "LFW's list of pairs, such as pairs.txt; needs --lfw_root.")
    calfw_root: Optional[str] = setting(None, "Folder of CALFW: pairs_CALFW.txt, and images in 'aligned images'.")
    cplfw_root: Optional[str] = setting(None, "Folder of CPLFW: pairs_CPLFW.txt, and images in 'aligned images'.")
    agedb_root: Optional[str] = setting(
        None, "Folder of AgeDB: 04_FINAL_protocol_30_years.mat, and images in 03_Protocol_Images."
    )
    xqlfw_root: Optional[str] = setting(None, "Folder of XQLFW: xqlfw_pairs.txt, and images in xqlfw_aligned_112.")
    rfw_root: Optional[str] = setting(
        None, "Folder of RFW: test/txts/<Race>/<Race>_pairs.txt, and images in test/data/<Race>."
    )
    rfw_bins: list[str] = setting([], "RFW as four .bin files, comma-separated: African_test.bin and so on.")
    pairs_csv: list[str] = setting(
        [], "Lists of pairs of your own, comma-separated: CSV files with the columns first, second, same."
    )
    pairs_root: Optional[str] = setting(
        None, "The folder that the paths of --pairs_csv begin at; default: that of each file."
    )
    pairs: list[str] = setting([], "Verification sets stored by `python -m ddl_tf.prepare`, comma-separated folders.")


def load_sets(settings: VerificationSets, check_images: bool = True) -> list[PairSet]:
    """Open the chosen verification sets, in the order of the fields.

    Args:
        settings: the choice.
        check_images: whether images in folders must exist; not for embeddings that were made elsewhere.

    Returns:
        The sets, none if none is chosen.

    Raises:
        InputError: if a set cannot be read, the choice is incomplete, or two sets have one name.
    """
    for flag, other in (("lfw_root", "lfw_pairs"), ("lfw_pairs", "lfw_root")):
        if getattr(settings, flag) and not getattr(settings, other):
            raise InputError(f"--{flag}={getattr(settings, flag)} without --{other}: LFW needs both")
    sets = [read_bin(path) for path in settings.bin]
    for protocol in settings.cfp_protocols if settings.cfp_root else ():
        sets.append(read_cfp(str(settings.cfp_root), protocol, settings.cfp_folds, check_images))
    if settings.lfw_root and settings.lfw_pairs:
        sets.append(read_lfw(settings.lfw_root, settings.lfw_pairs, check_images))
    readers = {"calfw": read_calfw, "cplfw": read_cplfw, "agedb": read_agedb, "xqlfw": read_xqlfw}
    roots = {name: getattr(settings, f"{name}_root") for name in readers}
    sets += [read(roots[name], check_images) for name, read in readers.items() if roots[name]]
    if settings.rfw_root:
        sets += read_rfw(settings.rfw_root, check_images)
    if settings.rfw_bins:
        sets += read_rfw_bins(settings.rfw_bins)
    if settings.pairs_root and not settings.pairs_csv:
        raise InputError(f"--pairs_root={settings.pairs_root} without --pairs_csv: name the lists too, or leave it out")
    sets += [read_pair_csv(path, settings.pairs_root, check_images) for path in settings.pairs_csv]
    sets += [read_stored(path) for path in settings.pairs]
    for name, count in Counter(pair_set.name for pair_set in sets).items():
        if count > 1:
            raise InputError(f"{count} verification sets are named {name!r}: rename a file, or evaluate them apart")
    return sets
