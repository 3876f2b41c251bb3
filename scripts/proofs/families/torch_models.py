"""Models of torchvision, timm, transformers and segmentation_models_pytorch, exported by both exporters.

    VENV/bin/python scripts/proofs/families/torch_models.py FOLDER PICTURES [NAME ...]

Writes `NAME.torchscript.onnx` and `NAME.dynamo.onnx` for each. Weights are random: norms of batches are
settled on the pictures, and masks are moved and scaled, so that each plane has pixels of both signs and a
metric has something to see. Backbones get a head of one convolution; classifiers stay what they are.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import transformers
from pictures import arrays, in_a_line
from torch import Tensor, nn
from torchvision import models as vision

PLANES = 4
SIZE = 64
Making = Callable[[], nn.Module]


class Picked(nn.Module):
    """A model reduced to one of its outputs, which `pick` selects."""

    def __init__(self, model: nn.Module, pick: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, image: Tensor) -> Tensor:
        """Masks of an image, [1, 3, height, width] normalised."""
        return self.pick(self.model(image))


class Mapped(nn.Module):
    """A backbone of timm with a head: one convolution, scaled up towards the image's size."""

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Conv2d(channels, PLANES, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Masks of an image, [1, 3, height, width] normalised."""
        features = self.backbone.forward_features(image)
        if features.ndim == 3:  # [1, tokens, channels]; class and register tokens come before the image's
            features = features[:, self.backbone.num_prefix_tokens :]
            features = features.unflatten(1, self.backbone.patch_embed.grid_size)
        if features.shape[1] != self.head.in_channels:
            # Swin returns [1, height, width, channels].
            features = features.permute(0, 3, 1, 2)
        return nn.functional.interpolate(self.head(features), scale_factor=4.0, mode="bilinear")


class Settled(nn.Module):
    """A model whose masks are centred and scaled per plane over the given images.

    Random weights tend to give planes of one sign, in which no metric of masks could see a difference.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            masks = torch.cat([model(image[None]) for image in images])
        self.register_buffer("middle", masks.mean(dim=(0, 2, 3), keepdim=True))
        self.register_buffer("spread", masks.std(dim=(0, 2, 3), keepdim=True))

    def forward(self, image: Tensor) -> Tensor:
        """Masks of an image, [1, 3, height, width] normalised."""
        return (self.model(image) - self.middle) / self.spread


def mapped(name: str, **settings: object) -> Making:
    """A maker of a timm backbone with a head; `settings` go to `timm.create_model`."""

    def make() -> nn.Module:
        backbone = timm.create_model(name, **settings)
        return Mapped(backbone, backbone.num_features)

    return make


def vit() -> nn.Module:
    """A small ViT of torchvision."""
    model = vision.VisionTransformer(SIZE, 16, 2, 4, 64, 128)
    # torchvision initialises the head with zeros, so every output would be zero.
    nn.init.normal_(model.heads.head.weight)
    return model


def segformer() -> nn.Module:
    """A small SegFormer of transformers."""
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 96], decoder_hidden_size=64, num_labels=PLANES
    )
    return Picked(transformers.SegformerForSemanticSegmentation(config), lambda outputs: outputs.logits)


def mask2former() -> nn.Module:
    """A small Mask2Former: deformable attention over a Swin backbone."""
    backbone = transformers.SwinConfig(
        image_size=SIZE, embed_dim=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_layers=1,
        decoder_layers=3, num_attention_heads=4, dim_feedforward=64, encoder_feedforward_dim=64,
        num_queries=PLANES, num_labels=2,
    )  # fmt: skip
    model = transformers.Mask2FormerForUniversalSegmentation(config)
    return Picked(model, lambda outputs: outputs.masks_queries_logits)


def sam_encoder() -> nn.Module:
    """A small image encoder of SAM, with relative positions and windows; its embedding is taken for masks."""
    config = transformers.SamVisionConfig(
        hidden_size=64, output_channels=PLANES, num_hidden_layers=2, num_attention_heads=4, image_size=SIZE,
        patch_size=8, window_size=3, global_attn_indexes=[1], mlp_dim=128,
    )  # fmt: skip
    return Picked(transformers.SamVisionModel(config), lambda outputs: outputs.last_hidden_state)


def of_torchvision(build: Callable[..., nn.Module]) -> Making:
    """A model for masks of torchvision."""
    return lambda: Picked(
        build(weights=None, weights_backbone=None, num_classes=PLANES), lambda outputs: outputs["out"]
    )


MODELS: MappingProxyType[str, Making] = MappingProxyType(
    {
        "torchvision_lraspp_mobilenet_v3": of_torchvision(vision.segmentation.lraspp_mobilenet_v3_large),
        "torchvision_deeplabv3_mobilenet_v3": of_torchvision(
            vision.segmentation.deeplabv3_mobilenet_v3_large
        ),
        "torchvision_fcn_resnet50": of_torchvision(vision.segmentation.fcn_resnet50),
        "torchvision_resnet18": lambda: vision.resnet18(weights=None),
        "torchvision_mobilenet_v3_small": lambda: vision.mobilenet_v3_small(weights=None),
        "torchvision_vit": vit,
        "timm_efficientvit_b0": mapped("efficientvit_b0"),
        "timm_convnext_atto": mapped("convnext_atto"),
        "timm_swin": mapped(
            "swin_tiny_patch4_window7_224", img_size=SIZE, window_size=4, embed_dim=24, depths=(1, 2, 2, 1)
        ),
        "timm_vit_tiny": mapped("vit_tiny_patch16_224", img_size=SIZE, depth=3),
        "timm_fastvit_t8": mapped("fastvit_t8"),
        "timm_edgenext_xx_small": mapped("edgenext_xx_small"),
        "transformers_segformer": segformer,
        "transformers_mask2former": mask2former,
        "transformers_sam_encoder": sam_encoder,
        "smp_unet_resnet18": lambda: smp.Unet("resnet18", encoder_weights=None, classes=PLANES),
        "smp_fpn_mobilenet_v2": lambda: smp.FPN("mobilenet_v2", encoder_weights=None, classes=1),
    }
)


def settled(make: Making, images: Tensor) -> nn.Module:
    """The model as it is exported: its batch norms take their statistics from the images."""
    torch.manual_seed(0)
    model = make().eval()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        model(images)
        model.eval()
        return Settled(model, images).eval() if model(images[:1]).ndim == 4 else model


def main() -> None:
    """Export each named model with both exporters."""
    folder, pictures, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    warnings.simplefilter("ignore")
    images = torch.from_numpy(arrays(pictures, SIZE))
    for name in names or MODELS:
        model = settled(MODELS[name], images)
        for exporter in ("torchscript", "dynamo"):
            target = folder / f"{name}.{exporter}.onnx"
            settings = {"external_data": False} if exporter == "dynamo" else {"opset_version": 17}
            try:
                torch.onnx.export(
                    model, (images[:1],), str(target), input_names=["image"], output_names=["masks"],
                    dynamo=exporter == "dynamo", verbose=False, **settings,
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001 - exporters have no root of their errors
                (folder / f"{target.stem}.refused").write_text(in_a_line(error))


if __name__ == "__main__":
    main()
