"""What the tree promises: the order of the packages, their size, and what the core knows nothing of."""

import ast
import collections
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ddl_tf"
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
# What losses and layers may take of common/: tensors, nothing of flags, files or data.
OF_TENSORS = {"checks", "class_labels", "keras_version", "replicas", "tensorflow_addons_import", "unit_rows"}


def order():
    """The packages from the lowest to the highest, as docs/design.md lists them."""
    listed = re.search(r"<!-- order -->\n+```text\n(.*?)```", (ROOT / "docs" / "design.md").read_text(), re.S)
    return [line.split()[0].rstrip("/") for line in listed[1].splitlines()]


def package_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (PACKAGE / parts[-1]).is_dir() else "commands"


def imported(module):
    """The modules and packages of ddl_tf that a module imports, wherever in it, or takes something of by `ddl_tf.`."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ddl_tf":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES or f"{name}.__init__" in MODULES else node.module
        elif isinstance(node, ast.Attribute) and f"{ast.unparse(node)}.__init__" in MODULES:
            yield ast.unparse(node)


def test_every_package_is_in_the_order_and_imports_none_above_it():
    assert sorted(order()) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
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


def test_no_package_has_more_than_20_files_and_no_file_more_than_400_lines():
    assert max(collections.Counter(path.parent for path in MODULES.values()).values()) <= 20
    assert [name for name, path in MODULES.items() if path.read_text().count("\n") > 400] == []


def test_the_core_knows_nothing_of_data_flags_or_files():
    core = {"ddl_tf.losses", "ddl_tf.layers"}
    others = {other for module in MODULES if f"ddl_tf.{package_of(module)}" in core for other in imported(module)}
    others = {name for name in others if ".".join(name.split(".")[:2]) not in core}
    assert others <= {f"ddl_tf.common.{name}" for name in OF_TENSORS}


def test_what_needs_no_tensorflow():
    names = {"client": "Client", "serving": "Client", "mining": "Rule", "synthetic": "render"}
    names["importers"] = "folder_source"
    lines = [f"from ddl_tf.{package} import {name}" for package, name in names.items()]
    lines += ["import sys", "assert 'tensorflow' not in sys.modules"]
    subprocess.run([sys.executable, "-c", "; ".join(lines)], check=True, cwd=ROOT)
