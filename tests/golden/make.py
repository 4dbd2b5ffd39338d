"""Make a golden file of the tests: what the authors' code says of some inputs.

Run by hand, on checkouts of the repositories that the module `make_NAME_golden` names in CHECKOUTS:

    python tests/golden/make.py ijb --insightface=PATH

AdaFace is https://github.com/mk-minchul/AdaFace, CurricularFace HuangYG123/CurricularFace, FaceX-Zoo JDAI-CV/FaceX-Zoo,
HistogramLoss madkn/HistogramLoss, InsightFace deepinsight/insightface, MagFace IrvingMeng/MagFace, RepDistiller
HobbitLong/RepDistiller, RKD lenscloth/RKD, feature_similarity_kd gist-ailab/feature-similarity-KD. What a module names
in STUBS is imported by their code and not used here: a mock stands for it. `rfw_golden.json` has what
recognition/test/verification_rfw.py of Tencent/TFace printed.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np

FOLDER = Path(__file__).resolve().parent


def main():
    name = sys.argv[1]
    maker = importlib.import_module(f"make_{name}_golden")
    parser = argparse.ArgumentParser(usage=f"make.py {name} --CHECKOUT=PATH ...", description=maker.__doc__)
    for checkout in maker.CHECKOUTS:
        parser.add_argument(f"--{checkout}", required=True, type=Path)
    paths = vars(parser.parse_args(sys.argv[2:]))
    paths = {checkout: paths[checkout] / folder for checkout, folder in maker.CHECKOUTS.items()}
    sys.modules.update({stub: mock.MagicMock() for stub in getattr(maker, "STUBS", ())})
    sys.path[:0] = [str(path) for path in paths.values()]
    golden = maker.make(**paths)
    if (FOLDER / f"{name}_golden.npz").exists():
        np.savez_compressed(FOLDER / f"{name}_golden.npz", **golden)
    else:
        (FOLDER / f"{name}_golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
