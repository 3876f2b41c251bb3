"""Scripts for trtexec before TensorRT 11 that state the precision of each layer."""

from __future__ import annotations

from collections.abc import Sequence

from autoprec.exporters._script import quoted
from autoprec.precisions.layer_flags import LONGEST
from autoprec.records import Export

TOO_LONG = """\
#!/bin/sh
# Study {study}, trial {number}.
echo "{script}: the precisions of the layers take {size} bytes, and one argument of a command may have" \\
    "{longest}: build with trtexec.sh, of TensorRT 10 or 11, which needs none; or shorten the names of the" \\
    "model's nodes, and search and export it again" >&2
exit 2
"""
TEMPLATE = """\
#!/bin/sh
# Study {study}, trial {number}.
{about}
set -eu
cd -- "$(dirname -- "$0")"
command -v trtexec > /dev/null || {{
    echo "{script}: trtexec is not on the PATH: it comes with TensorRT, in the bin folder of its archive" >&2
    exit 2
}}
{first}trtexec \\
    {flags}
"""
TIMING = ("--useCudaGraph", "--noDataTransfers", "--useSpinWait", "--warmUp=1000", "--duration=10")
"""Timing as in the study: kernels alone, without copies, on a warm GPU."""


def by_layers(
    export: Export,
    script: str,
    about: Sequence[str],
    layers: Sequence[str],
    flags: Sequence[str],
    first: str = "",
) -> str:
    """A script that builds and times with `trtexec`, or one that says why no command can.

    Args:
        export: what it builds.
        script: file name of the script.
        about: lines of its head.
        layers: flags from `layer_flags`.
        flags: the other flags: files, and options of the build.
        first: commands before the build, as whole lines.
    """
    # Escaped: behind a line break a name would no longer be a comment, but a command.
    told = {"study": ascii(export.trial.study), "number": export.trial.number, "script": script}
    # Linux limits a single argument of a command to 128 KiB, however much all of them may have together.
    size = max(len(flag.encode()) for flag in layers)
    if size > LONGEST:
        return TOO_LONG.format(**told, size=size, longest=LONGEST)
    words = (*flags, *layers, "--profilingVerbosity=detailed", *TIMING)
    return TEMPLATE.format(
        **told,
        about="\n".join(f"# {line}".rstrip() for line in about),
        first=first,
        flags=" \\\n    ".join(map(quoted, words)),
    )
