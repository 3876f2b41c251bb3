"""The options of trtexec that build an engine as a study wants it, by what a target's own help names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoprec.backends.target.trtexec.exports import Tool
from autoprec.errors import BackendError, TrialError
from autoprec.precisions.layer_flags import LONGEST, layer_flags

_KNOWN = frozenset({"library", "device", "tf32", "workspace_mb", "optimization_level", "cuda_graph"})


def build_flags(
    tool: Tool, options: Mapping[str, object], layers: Sequence[Sequence[str]], model: str, plan: str
) -> list[str]:
    """Flags that build `plan` of `model` without running it.

    Args:
        tool: the target's trtexec.
        options: `[backend.options]` of tensorrt.
        layers: where types in the model do not bind, (layer, precision, type of what it makes) of each layer.
        model, plan: files there.

    Raises `BackendError` for an option that this version does not have, `TrialError` for layers whose names
    take more than one argument of a command may have.
    """
    if unknown := sorted(set(options) - _KNOWN):
        raise BackendError(
            f"backend.options.{unknown[0]}: trtexec on a target has nothing for it; leave it out"
        )
    flags = [f"--onnx={model}", f"--saveEngine={plan}", "--profilingVerbosity=detailed"]
    flags.append(f"--timingCacheFile={timings_file(tool)}")
    flags.append("--skipInference" if "skipInference" in tool.flags else "--buildOnly")
    if "stronglyTyped" in tool.flags:
        flags.append("--stronglyTyped")
    if not options.get("tf32", True):
        flags.append("--noTF32")
    if (level := options.get("optimization_level")) is not None:
        flags.append(f"--builderOptimizationLevel={level}")
    if (workspace := options.get("workspace_mb")) is not None:
        flags.append(f"--memPoolSize=workspace:{workspace}")
    if options.get("device"):
        flags.append(f"--device={options['device']}")
    if tool.is_weak:
        flags += layer_flags(
            [(name, word) for name, word, _ in layers], [(name, output) for name, _, output in layers]
        )
    # All of them, ours too: an option that this version does not know would end each build the same way.
    for flag in flags:
        _check(tool, flag)
    return flags


def timings_file(tool: Tool) -> str:
    """Where its builds keep their kernel timings."""
    return f"trtexec-{'.'.join(map(str, tool.version))}.cache"


def _check(tool: Tool, flag: str) -> None:
    """Raise `BackendError` for an unknown option, `TrialError` for one that is too long."""
    name = flag.partition("=")[0]
    if name[2:] not in tool.flags:
        version = ".".join(map(str, tool.version))
        raise BackendError(f"trtexec {version} there has no {name}; leave its option out")
    if len(flag.encode()) > LONGEST:
        raise TrialError(
            "build", f"the precisions of the model's layers do not fit into one argument ({name})"
        )
