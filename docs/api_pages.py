"""The pages of the API reference: a hook of MkDocs, and an extension of griffe, which reads the package for it.

Each package of ddl_tf that has public names (`__all__`) gets a page. Where they are imported when they are used, griffe
reads them from the stub. Nothing of ddl_tf is imported, so the build needs no TensorFlow.
"""

import ast
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).resolve().parents[1] / "ddl_tf"


def public_packages() -> list[str]:
    """List the packages with public names.

    Returns:
        Their names, such as `losses`, in alphabetical order.
    """
    files = sorted(PACKAGE.glob("*/__init__.py"))
    return [file.parent.name for file in files if "__all__" in file.read_text(encoding="utf-8")]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation.

    Args:
        config: the site's settings.

    Returns:
        The settings.
    """
    pages = [{f"ddl_tf.{name}": f"reference/{name}.md"} for name in public_packages()]
    config.nav.append({"API reference": [{"Packages": "reference/index.md"}, *pages]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the pages.

    Args:
        files: the files of the site.
        config: its settings.

    Returns:
        The files.
    """
    overview = ["# API reference", "", "| package | what is in it |", "| --- | --- |"]
    for name in public_packages():
        docstring = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text(encoding="utf-8")))
        summary = (docstring or "").partition("\n")[0]
        overview.append(f"| [`ddl_tf.{name}`]({name}.md) | {summary} |")
        page = f"# ddl_tf.{name}\n\n::: ddl_tf.{name}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    files.append(File.generated(config, "reference/index.md", content="\n".join(overview) + "\n"))
    return files


class Examples(griffe.Extension):
    """Has an `Example:` of a docstring laid out as code: griffe knows the section as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section.

        Args:
            obj: an object that griffe has read.
            **kwargs: what else griffe says.
        """
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
