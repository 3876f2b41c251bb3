"""What to do with a front: the points that `export` would pick, and the commands to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from autoprec.records import Reference, TrialRecord
from autoprec.report import _figures as figures


def next_steps(
    picks: Mapping[str, TrialRecord], reference: Reference, accepted_loss: float, study: str = ""
) -> Iterator[str]:
    """Lines for the end of a search.

    Args:
        picks: the trials that `export` would pick, by the name of the pick.
        reference: what they are compared with.
        accepted_loss: of the study.
        study: name to use in commands; "" for the default study.
    """
    option = f" --study {shlex.quote(study)}" if study else ""
    words = {"knee": "knee", "fastest": f"fastest within a loss of {accepted_loss:g}"}
    for name, trial in picks.items():
        yield f"{words[name]}: {_point(trial)}"
    best = picks.get("fastest")
    # The reference is always within the loss, and nothing to export.
    if best is None or figures.is_no_faster(best, reference):
        yield (
            f"nothing faster than the reference was found within a loss of {accepted_loss:g}: "
            f"search further with `autoprec search{option}`, or accept more with `--accepted-loss`"
        )
    else:
        yield f"next: `autoprec export --pick fastest{option}`, and `autoprec report{option}` to look at it"


def _point(trial: TrialRecord) -> str:
    assert trial.measurement is not None
    speedup = figures.speedup(trial.measurement.latency)
    return f"trial {trial.number}, {speedup:.2f}x, loss {figures.loss(trial.loss)}"
