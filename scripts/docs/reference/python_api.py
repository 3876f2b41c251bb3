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
for point in study.search("50"):
    print(point.number, point.latency_ms, point.loss, point.assignment.as_dict())
print(study.best(max_loss=0.01))
study.export(pick="fastest", max_loss=0.01)
```

In a notebook, `study` and `study.front()` show themselves as tables, `study.plot_front()` as a chart, and
`study.trials_dataframe()` gives pandas everything. All names below are imported from `autoprec`, the errors
from `autoprec.errors`.
"""


def python_page() -> str:
    """Markdown: `Study` first, then what else is public, then the errors."""
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
