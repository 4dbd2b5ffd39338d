"""What the tree promises: the order of the packages, their size, and what the core knows nothing of."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ddl_tf"
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
# What losses and layers may take of common/: tensors, nothing of flags, files or data.
OF_TENSORS = {"checks", "class_labels", "replicas", "tensorflow_addons_import", "unit_rows"}


def order():
    """The packages from the lowest to the highest, as docs/design.md lists them."""
    text = (ROOT / "docs" / "design.md").read_text()
    listed = re.search(r"<!-- order -->\n+```text\n(.*?)```", text, re.S)
    return [line.split()[0].rstrip("/") for line in listed[1].splitlines()]


def package_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (PACKAGE / parts[-1]).is_dir() else "commands"


def imported(module):
    """The modules of ddl_tf that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ddl_tf":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def test_every_package_is_in_the_order():
    assert sorted(order()) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_no_package_imports_one_above_it():
    height = {package: number for number, package in enumerate([*order(), "commands"])}
    upward = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imported(module)
        if module != "ddl_tf.__init__" and height[package_of(other)] > height[package_of(module)]
    ]
    assert not upward


def test_no_circle_of_modules():
    """Of imports at the top: those inside of functions run later."""
    above = {}
    for module, path in MODULES.items():
        nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        names = [[f"{node.module}.{alias.name}", node.module] for node in nodes for alias in node.names]
        above[module] = {next((name for name in pair if name in MODULES), None) for pair in names} - {None}
    while leaves := [module for module, others in above.items() if not others & set(above)]:
        for module in leaves:
            del above[module]
    assert not above


def test_no_package_has_more_than_20_files():
    folders = itertools.groupby(sorted(MODULES.values()), lambda path: path.parent)
    assert {str(folder): len(files) for folder, group in folders if len(files := list(group)) > 20} == {}


def test_no_file_has_more_than_400_lines():
    sizes = {name: path.read_text().count("\n") for name, path in MODULES.items()}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


@pytest.mark.parametrize("package", ["losses", "layers"])
def test_the_core_knows_nothing_of_data_flags_or_files(package):
    others = {other for module in MODULES if package_of(module) == package for other in imported(module)}
    allowed = {"ddl_tf.losses", "ddl_tf.layers"}
    assert {o for o in others if ".".join(o.split(".")[:2]) not in allowed} <= {
        f"ddl_tf.common.{n}" for n in OF_TENSORS
    }


def test_what_needs_no_tensorflow():
    lines = [
        "import sys",
        "from ddl_tf.client import Client",
        "from ddl_tf.serving import Client",
        "from ddl_tf.mining import Rule",
        "from ddl_tf.synthetic import render",
        "from ddl_tf.importers import folder_source",
        "assert 'tensorflow' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "; ".join(lines)], check=True, cwd=ROOT)
