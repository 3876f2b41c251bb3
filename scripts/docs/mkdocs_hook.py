"""Adds to the documentation what lies elsewhere in the repository: the generated reference, and the
results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from reference.commands import commands_page
from reference.database import database_page
from reference.definition import definition_page
from reference.python_api import python_page

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "studies" / "results"
GENERATED = {
    "reference/commands.md": commands_page,
    "reference/definition.md": definition_page,
    "reference/database.md": database_page,
    "reference/python.md": python_page,
}


def on_config(config: Any, **_: Any) -> Any:
    """Leave out the page for unknown addresses, which alone loads its style from the root of a server."""
    config.theme.static_templates.discard("404.html")
    return config


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the generated pages, the results with their pictures, and the changelog."""
    for path, page in GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    for file in sorted(RESULTS.iterdir()):
        if file.suffix in {".md", ".png", ".svg"}:
            name = "index.md" if file.name == "README.md" else file.name
            files.append(File.generated(config, f"results/{name}", abs_src_path=str(file)))
    files.append(File.generated(config, "changelog.md", abs_src_path=str(ROOT / "CHANGELOG.md")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links from results to files that are not on the site into plain text."""
    if not page.file.src_path.startswith("results/"):
        return markdown
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would load something from the network."""
    if link := re.search(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="https?://[^"]+"', output):
        raise PluginError(f"{page.file.src_path} loads from the network: {link.group()}")
    return output
