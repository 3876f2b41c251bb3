"""The Python reference: a directive of mkdocstrings for each public name, and for the errors."""

from __future__ import annotations

import autoprec
from autoprec import errors

_INTRODUCTION = """# Python

`autoprec.Study` has the verbs of the command line. Records are frozen; what is wrong with what you gave it
raises a child of `autoprec.UserError`, with one line that says what to do.

```python
from autoprec import Study

study = Study.load("studies/demo.toml")
front = study.search(50, callbacks=[lambda study, trial: print(trial)])
for point in front:
    print(point.number, point.latency_ms, point.loss, point.assignment.as_dict())
best = study.best(max_loss=0.01)
study.where(best.number).first  # the first block that departs from the reference, if one does
study.enqueue({"neck.out": "bf16"})  # a mix of your own: measured next
study.export("shipped", trial=best.number)
```

A search may run in any thread, and in a notebook: there it handles no signals, and `study.stop()` ends it
after the running trials, as it does in a callback. Notebooks show a study and its front as tables, and
`study.plot_front()` as a chart; `study.trials_dataframe()` needs `pip install pandas`. All names below are
imported from `autoprec`, the errors from `autoprec.errors`.
"""


def python_page() -> str:
    """A page in Markdown: `Study` first, then the other public names, then the errors."""
    names = [name for name in autoprec.__all__ if not name.startswith("_") and not hasattr(errors, name)]
    names.sort(key=lambda name: (name != "Study", name))
    raised = [name for name, kind in vars(errors).items() if _is_error(kind)]
    shown = [_directive(autoprec._HOMES.get(name, "autoprec.records"), name) for name in names]
    return "\n".join(
        [_INTRODUCTION, *shown, "## Errors\n", *(_directive("autoprec.errors", n) for n in raised)]
    )


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.AutoprecError)


def _directive(module: str, name: str) -> str:
    options = "    options:\n      inherited_members: true\n" if name == "Study" else ""
    return f"::: {module}.{name}\n{options}"
