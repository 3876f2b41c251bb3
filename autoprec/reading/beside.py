"""Where the prompts of an image lie: `prompts.json` beside it, or above its folder where that is `images`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import UnfitError


def prompts_file(images: Path) -> Path:
    """The file with the prompts of a folder's images, whether or not it exists."""
    beside, above = images / "prompts.json", images.parent / "prompts.json"
    return above if images.name == "images" and above.exists() and not beside.exists() else beside


def prompts_beside(image: Path) -> list[dict[str, Any]]:
    """The prompts of one image as JSON has them; empty without a file, or where that does not name the image.

    Raises `UnfitError` for a file that is no table of prompts by image.
    """
    path = prompts_file(image.absolute().parent)
    if not path.is_file():
        return []
    try:
        # Editors on Windows begin a file with a mark, which JSON does not allow.
        prompts = json.loads(path.read_text(encoding="utf-8-sig")).get(image.name, [])
    except (AttributeError, RecursionError, ValueError) as error:
        raise UnfitError(f"{path}: is not a table of prompts by image, in UTF-8: {error}") from error
    if not isinstance(prompts, list) or not all(isinstance(prompt, dict) for prompt in prompts):
        raise UnfitError(f"{path}: the prompts of {image.name!r} are not a list of tables")
    return prompts
