"""The policy: a small network that reads an image and an instruction, and points.

A GRU reads the words; convolutions, which the words modulate (FiLM, arXiv 1709.07871), read the pixels. One map for
each point says how good each place is. Behaviour cloning: the softmax of a map learns to peak at the point shown.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ivm_data.worlds.templates import vocabulary

SIDE = 64
"""What the policy sees, in pixels."""
CELLS = SIDE // 4
CHANNELS = 4
"""RGB and a mask, which is zero where an arm has none: the policy has the same weights in every arm."""
WIDTH, STEM, WORD, LAYERS, TOKENS = 32, 16, 32, 2, 24
BATCH, RATE, DECAY, SHIFT = 32, 3e-3, 1e-4, 4
"""Demonstrations a step, peak learning rate, weight decay, and the pixels that an image is shifted by at most."""
_ID = {word: place + 1 for place, word in enumerate(vocabulary())}
_MIDDLE_C = (torch.arange(CELLS) + 0.5) / CELLS
_PLACE_P2 = torch.stack([_MIDDLE_C.repeat(CELLS), _MIDDLE_C.repeat_interleave(CELLS)], 1)
"""(x, y) of each cell's middle."""


def tokens(instruction: str) -> np.ndarray:
    """Word numbers, int64 (TOKENS,), 0 after the last; words that the world does not have are left out."""
    known = [_ID[word] for word in re.findall(r"[a-z]+", instruction.lower()) if word in _ID][:TOKENS]
    return np.array(known + [0] * (TOKENS - len(known)))


class Policy(nn.Module):
    """Views and words -> a map of logits for each point.

    Args:
        points: to act on.
    """

    def __init__(self, points: int) -> None:
        super().__init__()
        self.words = nn.Embedding(len(_ID) + 1, WORD, padding_idx=0)
        self.reader = nn.GRU(WORD, WIDTH, batch_first=True, bidirectional=True)
        self.stem = nn.Sequential(*_halving(CHANNELS, STEM, 5), *_halving(STEM, WIDTH, 3))
        self.film = nn.Linear(2 * WIDTH, LAYERS * 2 * WIDTH)
        self.convs = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False) for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.BatchNorm2d(WIDTH, affine=False) for _ in range(LAYERS))
        self.head = nn.Conv2d(WIDTH, points, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, view_BCHW: Tensor, tokens_BT: Tensor) -> Tensor:
        """Logits (B, points, CELLS * CELLS), row by row.

        Args:
            view_BCHW: float32 (B, CHANNELS, SIDE, SIDE) in [0, 1].
            tokens_BT: as `tokens` gives them.
        """
        scale_BLE, shift_BLE = self.film(self._read(tokens_BT)).view(len(tokens_BT), LAYERS, 2, WIDTH).unbind(2)
        seen_BEHW = self.stem((view_BCHW - 0.5).contiguous(memory_format=torch.channels_last))
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            scale_BE11, shift_BE11 = (each[:, i, :, None, None] for each in (scale_BLE, shift_BLE))
            seen_BEHW = seen_BEHW + functional.relu(norm(conv(seen_BEHW)) * (1 + scale_BE11) + shift_BE11)
        logits: Tensor = self.head(seen_BEHW).flatten(2)
        return logits

    def _read(self, tokens_BT: Tensor) -> Tensor:
        lengths_B = (tokens_BT > 0).sum(1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.words(tokens_BT), lengths_B, batch_first=True, enforce_sorted=False
        )
        _, last_2BE = self.reader(packed)
        text: Tensor = last_2BE.transpose(0, 1).flatten(1)
        return text


def clone(view_NCHW: Tensor, tokens_NT: Tensor, points_NK2: Tensor, steps: int, seed: int) -> Policy:
    """A policy of demonstrations. The seed alone decides first weights, batches and shifts, whatever the views show.

    Args:
        view_NCHW: uint8.
        points_NK2: (x, y) in [0, 1].
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    policy = Policy(points_NK2.shape[1])
    policy.train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        chosen_B = torch.from_numpy(rng.integers(0, len(view_NCHW), BATCH))
        dx, dy = rng.integers(-SHIFT, SHIFT + 1, 2).tolist()
        view_BCHW, points_BK2 = shifted(view_NCHW[chosen_B].float() / 255, points_NK2[chosen_B], dx, dy)
        log_BKP = policy(view_BCHW, tokens_NT[chosen_B]).log_softmax(-1)
        optimizer.zero_grad()
        (-(_wanted(points_BK2) * log_BKP).sum(-1).mean()).backward()
        optimizer.step()
        schedule.step()
    policy.eval()
    return policy


@torch.no_grad()
def act(policy: Policy, view_NCHW: Tensor, tokens_NT: Tensor) -> np.ndarray:
    """The points (x, y) that the policy chooses, float32 (N, K, 2) in [0, 1]: the mean place around each map's peak."""
    logits = [
        policy(view.float() / 255, words)
        for view, words in zip(view_NCHW.split(100), tokens_NT.split(100), strict=True)
    ]
    share_NKP = torch.cat(logits).softmax(-1)
    peak_NK2 = _PLACE_P2[share_NKP.argmax(-1)]
    near_NKP = (_PLACE_P2 - peak_NK2[:, :, None]).abs().amax(-1) < 1.5 / CELLS
    share_NKP = share_NKP * near_NKP
    chosen_NK2: np.ndarray = (share_NKP / share_NKP.sum(-1, keepdim=True) @ _PLACE_P2).numpy()
    return chosen_NK2


def shifted(view_BCHW: Tensor, points_BK2: Tensor, dx: int, dy: int) -> tuple[Tensor, Tensor]:
    """Everything moved right by dx and down by dy pixels; the border's pixels fill what comes in."""
    padded = functional.pad(view_BCHW, (SHIFT,) * 4, mode="replicate")
    window = padded[:, :, SHIFT - dy : SHIFT - dy + SIDE, SHIFT - dx : SHIFT - dx + SIDE]
    moved = points_BK2 + torch.tensor([dx, dy], dtype=torch.float32) / SIDE
    return window, moved.clamp(0, 1)


def _halving(channels: int, width: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2), nn.BatchNorm2d(width), nn.ReLU()


def _wanted(points_BK2: Tensor) -> Tensor:
    """A Gaussian of one cell around each point, which sums to 1 over the cells."""
    square_BKP = ((_PLACE_P2 - points_BK2[:, :, None]) ** 2).sum(-1)
    return (-square_BKP * CELLS**2 / 2).softmax(-1)
