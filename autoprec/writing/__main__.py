"""The writing process: `python -m autoprec.writing FD` answers requests on the pipe FD."""

from __future__ import annotations

import sys
from pathlib import Path

from autoprec.errors import TrialError, UserError, machine_fault, place_of
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.isolation import Answers, requests
from autoprec.writing.material import Material
from autoprec.writing.messages import (
    Answer,
    Declined,
    DiskFull,
    Request,
    Saved,
    Unwritten,
    Write,
    decode_request,
    encode,
)


def main(descriptor: int) -> None:
    """Answer requests until the search closes the pipe."""
    answers, loaded = Answers(descriptor), _Loaded()
    for line in requests():
        answers.send(encode(_answer(loaded, decode_request(line))))


class _Loaded:
    """The rewriter, kept from request to request while the material is the same."""

    def __init__(self) -> None:
        self._material: Material | None = None
        self._rewriter: Rewriter | None = None

    def serve(self, request: Request) -> None:
        """Serve one request. Raises like `Rewriter.write` and `Material.rewriter`."""
        if self._rewriter is None or self._material != request.material:
            # Both at once: where loading fails, neither is taken for the new one.
            self._rewriter, self._material = request.material.rewriter(), request.material
        if isinstance(request, Write):
            self._rewriter.write(request.assignment, Path(request.path))


def _answer(loaded: _Loaded, request: Request) -> Answer:
    try:
        loaded.serve(request)
    except TrialError as error:
        return Unwritten(error.kind, str(error))
    except UserError as error:
        return Declined(str(error))
    # With its number: the search raises the same error, and says by that what has run out.
    except OSError as error:
        return DiskFull(error.errno or 0, error.strerror or str(error))
    except MemoryError as error:
        return Unwritten("memory", machine_fault(error))
    except Exception as error:  # noqa: BLE001 - the search must learn of any error
        words = f"{type(error).__name__}: {error}, at {place_of(error)}"
        return Unwritten("internal", f"{words}; this is a bug in autoprec, please report it")
    return Saved()


if __name__ == "__main__":
    main(int(sys.argv[1]))
