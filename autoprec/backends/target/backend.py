"""The target backend: a supported engine on another machine."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from autoprec.backends._base import Engine, KernelTimings, StopwatchName
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.backends.openvino_nodes import read_graph
from autoprec.backends.target.address import Address, parse_address
from autoprec.backends.target.channel import Channel
from autoprec.backends.target.engine import TargetEngine
from autoprec.backends.target.faults import CutError, FullError, UnreachableError
from autoprec.backends.target.line import BETWEEN_TRIES_SECONDS, Asked, Line, Waiting
from autoprec.backends.target.models import split_model
from autoprec.backends.target.readings import KNOWN, READERS, clocks_of, held
from autoprec.backends.target.trtexec import Trtexec
from autoprec.backends.tensorrt import TensorRTBackend
from autoprec.errors import BackendError, SpecError, TrialError
from autoprec.records import Clocks, Fingerprint, MachineCheck, Told

_TRIES = 5
_LITTLE_ROOM = 2e9
_OURS = frozenset(
    f"target{what}" for what in ("", "_python", "_folder", "_ssh_config", "_trtexec", "_logits")
) | {"engine"}


class TargetBackend:
    """An engine on a target.

    Args:
        options: `target` names it, `engine` its backend; the rest is that backend's.

    Raises `SpecError` for an option that is wrong, `BackendError` where the target cannot serve.
    """

    stopwatch: StopwatchName = "target"
    has_own_device = False  # of this machine it has none
    builds_on_device = True  # what the machine there builds beside a timing, it disturbs

    def __init__(self, options: Mapping[str, str | int | float | bool]) -> None:
        engine = str(options.get("engine", ""))
        theirs = {key: value for key, value in options.items() if key not in _OURS}
        unknown = sorted(set(theirs) - KNOWN.get(engine, frozenset()))
        if unknown:
            raise SpecError(f"backend.options: {engine or 'a target'} has no option {unknown[0]!r}")
        if engine not in READERS:
            raise SpecError(f"backend.name is {engine!r}; targets serve: {', '.join(READERS)}")
        self.name = engine
        self.grids = (OpenVinoBackend if engine == "openvino" else TensorRTBackend).grids
        self.widened = (OpenVinoBackend if engine == "openvino" else TensorRTBackend).widened
        self.uses_tf32: bool = (OpenVinoBackend if engine == "openvino" else TensorRTBackend).uses_tf32
        self._address = parse_address(dict(options))
        self._options = theirs
        self._sends_cut = not options.get("target_logits")
        self._line: Line | None = None
        self.facts: dict[str, Any] = {}
        self._power = Clocks()
        self._patience = Waiting()

    @property
    def bases(self) -> tuple[str, ...]:
        """As `Backend.bases`."""
        return OpenVinoBackend.bases if self.name == "openvino" else (self.base_precision,)

    @property
    def base_precision(self) -> str:
        """As on a machine with that engine."""
        if self.name == "openvino":
            return OpenVinoBackend.base_precision
        self._open()
        capability = self.facts.get("capability")
        parts = capability if isinstance(capability, list) else []
        # What a target says is checked for its type before it is compared: a string would raise here.
        has_bf16 = all(isinstance(part, int) for part in parts) and parts >= [8, 0]
        return "bf16" if self._is_rtx and has_bf16 else "fp16"

    @property
    def splits_projections(self) -> bool:
        """As on a machine with that engine."""
        return self.name == "tensorrt" and self._is_rtx

    @property
    def _is_rtx(self) -> bool:
        self._open()
        return self.facts.get("library") == "TensorRT-RTX"

    def wait(self, seconds: float, say: Callable[[str], None]) -> None:
        """As `Distant.wait`. Later losses of the line, and full disks, are waited for as long."""
        self._patience = Waiting(seconds, say)
        self._open()

    def fingerprint(self) -> Fingerprint:
        """Engine and device as the target reports them, not its address: targets of a kind share a study."""
        self._open()
        return Fingerprint(
            backend=self.name,
            version=f"{self.facts.get('library', '')} {self.facts.get('version', '')}".strip()[:200],
            device=self._device()[:200],
            options=json.dumps(self._options, sort_keys=True),
        )

    def _device(self) -> str:
        """The device's name, with a board's power mode: in a slower mode it is another device."""
        name, mode = str(self.facts.get("device", "")), self._power.power_mode
        return f"{name}, power mode {mode[:40]}" if mode else name

    def build(self, model_path: Path, *, profiled: bool = False) -> Engine:
        """Build an engine there. Raises `TrialError("build", ...)`."""
        line = self._open()
        try:
            graph = read_graph(model_path)
        except ValueError as error:
            raise TrialError("build", f"{model_path.name}: {error}") from error
        return TargetEngine(
            line,
            model_path,
            graph.inputs,
            graph.outputs,
            partial(READERS[self.name], graph),
            profiled=profiled,
        )

    def plan(self, model_path: Path) -> bytes:
        """As `ShipsEngines.plan`, built there."""
        if self.name == "openvino":
            return b""
        line = self._open()
        parts = split_model(model_path, line.newest_opset, is_weak=line.is_weak)
        layers = [layer[:3] for layer in parts.layers]
        answer = line.ask_with(parts.blobs, "plan", parts=parts.order, layers=layers)[1]
        if len(answer) != 1 or not answer[0]:
            raise TrialError("crash", "the target's answer holds no engine")
        return answer[0]

    def told(self, model_path: Path, written: Path) -> Told | None:
        """As `TellsLayers.told`."""
        line = self._open()
        if not line.is_weak:
            return None
        parts = split_model(model_path, line.newest_opset, is_weak=True)
        written.write_bytes(b"".join(parts.blobs[part] for part in parts.order))
        layers = tuple((layer.name, layer.precision, layer.made) for layer in parts.layers)
        return Told(model_path=str(written), layers=layers)

    def timings(self) -> KernelTimings:
        """As `KeepsTimings.timings`."""
        if self.name == "openvino" or self._is_rtx:
            return KernelTimings("", b"")
        answer = self._asked("timings")[1]
        # The name becomes a file's: letters, digits and dots of what the target says of itself.
        kind = self.fingerprint()
        name = re.sub(r"[^A-Za-z0-9.]+", "_", f"{kind.version} {kind.device}").strip("_.")
        return KernelTimings(f"{name}.cache", answer[0]) if answer and answer[0] else KernelTimings("", b"")

    def clocks(self) -> Clocks:
        """Clocks and load of the target now.

        Raises `BackendError` where its power mode is no longer what it was, or its clocks no longer held:
        latencies from before and after are not comparable.
        """
        now, was = clocks_of(self._asked("clocks")[0]), self._power
        changes = ""
        if was.power_mode is not None and now.power_mode != was.power_mode:
            changes = f"power mode was {was.power_mode}, and is {now.power_mode} now: `nvpmodel` sets it back"
        elif was.clocks_locked is not None and now.clocks_locked != was.clocks_locked:
            changes = f"GPU clock was {held(was)}, and is {held(now)} now: `jetson_clocks` holds it"
        if changes:
            raise BackendError(f"{self._address.name}: its {changes}; then resume the search")
        return now

    def clean(self) -> int:
        """Remove what the agent keeps on the target; returns the number of bytes."""
        channel = _reached(self._address)
        try:
            held = channel.ask("clean")[0].get("bytes", 0)
        finally:
            channel.close()
        return held if isinstance(held, int) else 0

    def checks(self) -> list[MachineCheck]:
        """Facts that the target reports, and how to fix it. Raises `BackendError` where it cannot serve."""
        self._open()
        free = self.facts.get("free_bytes", 0)
        room = free if isinstance(free, int | float) and 0 <= free < 1 << 60 else 0
        remedy = "`autoprec target clean` removes what is kept there" if room < _LITTLE_ROOM else ""
        return [
            MachineCheck(name="target", found=self._address.name),
            MachineCheck(name="its machine", found=str(self.facts.get("machine", "unknown"))[:80]),
            MachineCheck(name="its python", found=str(self.facts.get("python", "unknown"))[:20]),
            *self._power_checks(),
            MachineCheck(name="its disk", found=f"{room / 1e9:.1f} GB free", remedy=remedy),
        ]

    def _power_checks(self) -> list[MachineCheck]:
        """A board's power mode and clocks, and the processor that engines run on."""
        power, number = self._power, self._options.get("device", 0)
        if power.power_mode is None:
            return []
        state = f"mode {power.power_mode}, GPU clock {held(power)}"
        remedy = (
            "" if power.clocks_locked else "`sudo jetson_clocks` holds its clocks, which steadies timings"
        )
        return [
            MachineCheck(name="its power", found=state, remedy=remedy),
            MachineCheck(name="its engines", found=f"on GPU {number}; a DLA is not used"),
        ]

    def close(self) -> None:
        """End the agent."""
        if self._line is not None:
            self._line.channel.close()
        self._line = None

    def _open(self) -> Line:
        """The line to the target: opened at the first use, and again after it was cut."""
        if self._line is not None and self._line.channel.is_lost:
            self._line = None
        tries, waited = 1, 0.0
        while self._line is None:
            try:
                self._line = self._begun()
            except (UnreachableError, FullError) as error:
                # A line that closes as it begins is tried again at once; one that never opens is waited for.
                if isinstance(error, CutError) and tries < _TRIES:
                    tries += 1
                    continue
                if waited >= self._patience.seconds:
                    raise
                self._patience.say(f"waiting for the target: {error}")
                time.sleep(BETWEEN_TRIES_SECONDS)
                waited, tries = waited + BETWEEN_TRIES_SECONDS, 1
        return self._line

    def _begun(self) -> Line:
        """A new line. Raises `BackendError`."""
        channel = _reached(self._address)
        try:
            self.facts, _ = channel.ask("hello", engine=self.name, options=self._options)
            power = clocks_of(self.facts.get("power"))
        except (UnreachableError, FullError):
            channel.close()
            raise
        except (TrialError, BackendError) as error:
            channel.close()
            kind: type[BackendError] = BackendError
            if isinstance(error, TrialError) and error.kind == "killed":
                # Silent for too long: the machine may be busy, so it is waited
                # for; a line that was cut is tried again.
                is_late = isinstance(channel, Channel) and channel.is_late
                kind = UnreachableError if is_late else CutError
            words = str(error).removeprefix(f"{self._address.name}: ")
            raise kind(f"{self._address.name}: the engine does not start: {words}") from error
        if self._power == Clocks():  # a new line keeps to what the first one found
            self._power = power
        newest = self.facts.get("newest_opset", 0)
        is_weak = self.facts.get("is_weak") is True
        pid = newest if isinstance(newest, int) and 0 <= newest < 1000 else 0
        return Line(channel, pid, is_weak=is_weak, sends_cut=self._sends_cut, patience=lambda: self._patience)

    def _asked(self, request: str) -> tuple[dict[str, Any], list[bytes]]:
        """An answer that depends on no engine; asked again on a new line if the old one was cut."""
        line = self._open()
        try:
            return line.ask(request)
        except TrialError:
            if not line.channel.is_lost:
                raise
            return self._open().ask(request)


def _reached(address: Address) -> Asked:
    """What answers there. Raises `BackendError`."""
    return Trtexec(address) if address.trtexec else Channel(address)
