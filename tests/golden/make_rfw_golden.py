"""Make rfw_golden.json: what TFace's own verification_rfw.py says of four accuracies.

Run by hand, on a checkout of https://github.com/Tencent/TFace:

    python tests/golden/make_rfw_golden.py --tface=PATH

Their script embeds the images of four `.bin` files by PyTorch, and then takes the mean and the standard deviation of
the accuracies. The embedding is replaced here by one that gives chosen accuracies, the modules that it imports for it
by empty ones; the mean and the deviation are read from what the script prints.
"""

import argparse
import contextlib
import io
import json
import re
import runpy
import sys
import types
from pathlib import Path
from unittest import mock

GOLDEN = Path(__file__).with_name("rfw_golden.json")
# Of African, Asian, Caucasian and Indian faces.
CASES = [[0.8613, 0.8535, 0.9293, 0.8845], [0.9398, 0.9372, 0.9618, 0.9467], [0.5, 0.75, 1.0, 0.625]]


def main():
    """Write the golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tface", required=True, help="folder of the checkout")
    script = Path(parser.parse_args().tface) / "recognition" / "test" / "verification_rfw.py"
    golden = []
    for accuracies in CASES:
        results = iter(accuracies)
        modules = {name: mock.MagicMock() for name in ("torch", "torchkit", "torchkit.backbone", "utils")}
        modules["utils"].perform_rfw_val_bin = lambda *_, left=results: (0.0, 0.0, next(left), 0.0, 0.0, [])
        modules["cv2"] = types.ModuleType("cv2")
        printed = io.StringIO()
        with mock.patch.dict(sys.modules, modules), contextlib.redirect_stdout(printed):
            names = runpy.run_path(str(script))
            names["main"].__globals__["load_rfw_bin"] = lambda *_: None
            with mock.patch.object(sys, "argv", ["verification_rfw.py", "--ckpt_path=/", "--data_root=/"]):
                names["main"]()
        mean, std = re.search(r"Mean of accurary: (\S+), Std of accuracy: (\S+)", printed.getvalue()).groups()
        golden.append({"accuracies": accuracies, "mean": float(mean), "std_percent": float(std)})
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
