"""Which files the proof is about, how each is made, and which of them go from `init` to `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from environments import export_in, python_of

EXPORTED = {
    "torchvision": ("lraspp_mobilenet_v3", "deeplabv3_mobilenet_v3", "fcn_resnet50", "resnet18",
                    "mobilenet_v3_small", "vit"),
    "timm": ("efficientvit_b0", "convnext_atto", "swin", "vit_tiny", "fastvit_t8", "edgenext_xx_small"),
    "transformers": ("segformer", "mask2former", "sam_encoder"),
    "smp": ("unet_resnet18", "fpn_mobilenet_v2"),
}  # fmt: skip
"""Models by package; each is exported by TorchScript and by dynamo."""
EXPORTERS = ("torchscript", "dynamo")
_LRASPP = "torchvision_lraspp_mobilenet_v3.torchscript"
QUANTISED_FROM = {
    "onnxruntime": (_LRASPP, "timm_efficientvit_b0.dynamo"),
    "modelopt": (_LRASPP, "timm_swin.torchscript"),
    "optimised": ("timm_vit_tiny.torchscript", "timm_convnext_atto.torchscript", "timm_swin.dynamo",
                  "transformers_segformer.dynamo", "smp_fpn_mobilenet_v2.torchscript"),
}  # fmt: skip
"""Files that others quantise, or save behind an optimizer; one is a transformer, as ModelOpt's INT4 is for
products alone."""
QUANTISED = {
    "onnxruntime": ("qdq_s8s8", "qdq_s8s8_channels", "qdq_u8s8_channels", "qdq_u8u8_reduced", "qdq_symmetric",
                    "qdq_entropy", "qdq_u16s8", "qdq_s8s4", "qoperator_u8s8", "qoperator_u8u8",
                    "qoperator_s8s8_channels"),
    "modelopt": ("modelopt_int8_fp32", "modelopt_int8_fp16", "modelopt_fp8_fp32", "modelopt_fp8_fp16",
                 "modelopt_int4_fp32", "modelopt_int4_fp16"),
    "optimised": ("extended",),
}  # fmt: skip
CLASSIFIERS = ("torchvision_resnet18", "torchvision_mobilenet_v3_small", "torchvision_vit")
"""Models without masks, which are compared only."""
JOURNEYS = (
    "torchvision_lraspp_mobilenet_v3.dynamo",
    "torchvision_deeplabv3_mobilenet_v3.torchscript",
    "timm_efficientvit_b0.dynamo",
    "timm_convnext_atto.torchscript",
    "timm_swin.dynamo",
    "timm_fastvit_t8.dynamo",
    "transformers_segformer.dynamo",
    "transformers_mask2former.torchscript",
    "transformers_sam_encoder.torchscript",
    "smp_unet_resnet18.torchscript",
    f"{_LRASPP}.qdq_u8s8_channels",
    f"{_LRASPP}.qdq_s8s8",
    f"{_LRASPP}.qoperator_u8s8",
    "timm_swin.torchscript.modelopt_int8_fp32",
    f"{_LRASPP}.modelopt_int8_fp16",
    f"{_LRASPP}.modelopt_fp8_fp16",
    "timm_swin.torchscript.modelopt_int4_fp16",
    "transformers_segformer.dynamo.extended",
)


class Case(NamedTuple):
    """One file: its family, and its name without `.onnx`."""

    family: str
    name: str

    @property
    def has_masks(self) -> bool:
        """Whether the model has masks, without which there is nothing to search."""
        return not self.name.startswith(CLASSIFIERS)


def cases(families: list[str]) -> list[Case]:
    """All files of the given families, in a fixed order."""
    listed = [
        Case(family, f"{family}_{name}.{exporter}")
        for family, names in EXPORTED.items()
        for name in names
        for exporter in EXPORTERS
    ]
    listed += [
        Case(family, f"{source}.{way}")
        for family, ways in QUANTISED.items()
        for source in QUANTISED_FROM[family]
        for way in ways
    ]
    return [case for case in listed if case.family in families]


def make(wanted: list[Case], folder: Path, pictures: Path) -> None:
    """Make the missing files. A file its maker refuses leaves `NAME.refused` instead, and is not tried again.

    Args:
        wanted: the files.
        folder: where they are kept.
        pictures: folder of the pictures to settle and calibrate on.
    """
    missing = [case for case in wanted if not _is_there(folder, case.name)]
    sources = {
        family: sorted({case.name.rpartition(".")[0] for case in missing if case.family == family})
        for family in QUANTISED
    }
    files = [case.name for case in missing if case.family in EXPORTED]
    # A quantised file is made from an exported one, which may not have been asked for itself.
    files += [name for names in sources.values() for name in names if not _is_there(folder, name)]
    exported = {name.rpartition(".")[0] for name in files}
    paths = str(folder), str(pictures)
    if exported:
        export_in(python_of("torch", folder), "torch_models.py", *paths, *sorted(exported))
    makers = {"onnxruntime": "torch", "modelopt": "modelopt", "optimised": "torch"}
    for family, environment in makers.items():
        if sources[family]:
            export_in(python_of(environment, folder), f"{family}_models.py", *paths, *sources[family])


def _is_there(folder: Path, name: str) -> bool:
    return (folder / f"{name}.onnx").is_file() or (folder / f"{name}.refused").is_file()
