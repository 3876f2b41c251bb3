"""What is known of a model's outputs before it runs."""

from __future__ import annotations

from autoprec.records._base import Record


class ModelOutput(Record, frozen=True, kw_only=True):
    """One output: its sizes, None where they are free, and the operator that its values come of.

    `ending` leaves out what only moves values (Reshape, Transpose, Resize, Cast and the like) or scales them;
    "" stands for any operator whose values may be logits. `scale` is what one is then: 255 for pixels.
    """

    name: str
    shape: tuple[int | None, ...]
    ending: str = ""
    scale: float = 1.0

    @property
    def told(self) -> str:
        """Name and sizes, for messages."""
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} [{sizes}]"
