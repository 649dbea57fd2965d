"""IVM's release, its arithmetic written down from segment-anything's own modules, timm, peft and a tiny LLaVA."""

from functools import partial

import numpy as np
import peft
import torch
from PIL import Image
from segment_anything.modeling import ImageEncoderViT, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from timm.layers import Mlp
from torch import nn
from torch.nn import functional
from torchvision.transforms.functional import normalize, to_tensor
from transformers import AutoProcessor, LlavaForConditionalGeneration, SamModel

SIDE, CHANNELS = 64, 32
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 255, size, np.uint8) for size in ((48, 96, 3), (64, 64, 3))]
WORDS = ["Find the red square .", "ok"]


class Release(nn.Module):
    """The inference path of the release with its module names, at the sizes of the tiny base models."""

    def __init__(self, bases) -> None:
        super().__init__()
        self.image_encoder = _image_encoder(bases.sam)
        self.processor = AutoProcessor.from_pretrained(bases.lmm)
        llava = LlavaForConditionalGeneration.from_pretrained(bases.lmm)
        targets = r".*language_model.*\.(q_proj|v_proj)"
        lora = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=targets)
        self.prompt_encoder = nn.ModuleDict(
            {"model": peft.get_peft_model(llava, lora), "text_proj": Mlp(CHANNELS, 2048, CHANNELS)}
        )
        self.mask_decoder = nn.ModuleDict(
            {
                "transformer": TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=64, num_heads=2),
                "pe_layer": PositionEmbeddingRandom(CHANNELS // 2),
                "mask_tokens": nn.Embedding(1, CHANNELS),
                "output_upscaling": nn.Sequential(
                    nn.ConvTranspose2d(CHANNELS, CHANNELS // 4, 2, 2),
                    LayerNorm2d(CHANNELS // 4),
                    nn.GELU(),
                    nn.ConvTranspose2d(CHANNELS // 4, CHANNELS // 8, 2, 2),
                    nn.GELU(),
                ),
                "output_hypernetworks_mlps": MLP(CHANNELS, CHANNELS, CHANNELS // 8, 3),
            }
        )
        for name, value in self.named_parameters():
            if ".lora_" in name:
                nn.init.normal_(value, std=0.3)

    def forward(self, images: list[np.ndarray], instructions: list[str]) -> torch.Tensor:
        squares = [Image.fromarray(image).resize((SIDE, SIDE)) for image in images]
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        embedding_BCHW = self.image_encoder(torch.stack([normalize(to_tensor(x), mean, std) for x in squares]))
        prompts = [f"USER: <image>\n{text} \n ASSISTANT:" for text in instructions]
        inputs = self.processor(text=prompts, images=squares, return_tensors="pt", padding=True)
        states = self.prompt_encoder["model"](**inputs, output_hidden_states=True).hidden_states[-1]
        condition_B1C = self.prompt_encoder["text_proj"](states[:, -2:-1])
        decoder, batch = self.mask_decoder, len(images)
        tokens_B2C = torch.cat([decoder["mask_tokens"].weight.expand(batch, 1, -1), condition_B1C], 1)
        position_1CHW = decoder["pe_layer"](embedding_BCHW.shape[2:])[None]
        tokens_B2C, pixels_BTC = decoder["transformer"](embedding_BCHW, position_1CHW, tokens_B2C)
        maps_BCHW = decoder["output_upscaling"](pixels_BTC.transpose(1, 2).view_as(embedding_BCHW))
        kernel_B1C = decoder["output_hypernetworks_mlps"](tokens_B2C[:, :1])
        low_B1HW = (kernel_B1C @ maps_BCHW.flatten(2)).unflatten(2, maps_BCHW.shape[2:])
        return functional.interpolate(low_B1HW, (SIDE, SIDE), mode="bilinear", align_corners=False)

    def trained(self) -> dict[str, torch.Tensor]:
        """What the released file holds, under the names that the transformers of its time gave."""
        kept = {n: v for n, v in self.state_dict().items() if ".lora_" in n or n.startswith("mask_decoder.")}
        kept |= {n: v for n, v in self.state_dict().items() if "text_proj" in n}
        return {name.replace("model.model.language_model", "model.language_model.model"): v for name, v in kept.items()}


def _image_encoder(directory: str) -> ImageEncoderViT:
    encoder = ImageEncoderViT(
        img_size=SIDE,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        out_chans=CHANNELS,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1,),
    )
    names = {"patch_embed.projection": "patch_embed.proj", "neck.conv1": "neck.0", "neck.layer_norm1": "neck.1"}
    names |= {"neck.conv2": "neck.2", "neck.layer_norm2": "neck.3", "layers.": "blocks.", ".layer_norm": ".norm"}
    state = {}
    for name, value in SamModel.from_pretrained(directory).vision_encoder.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = value
    encoder.load_state_dict(state)
    return encoder
