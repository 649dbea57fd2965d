"""SAM embeddings kept on disk in half precision: 2 MB an image with SAM ViT-H, so the price comes first."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ivm_model.model.masking_model import MaskingModel
from storage.disk.publish import sweep, whole_file
from storage.errors import ConfigError, IvmWarning


class EmbeddingCache:
    """One memory-mapped file for each image, `FOLDER/<base model>-<frame>-shrunk[-<dtype>]/<2 digits>/<hash>.npy`.

    A file appears whole or not at all, so that processes may share the folder and may be killed.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path, model: MaskingModel) -> None:
        frame = model.config.inputs.frame
        name = f"{model.base_models['sam']}-{frame}-shrunk".replace(os.sep, "_")
        name += "" if model.sam_dtype == "float32" else f"-{model.sam_dtype}"
        self.folder, self.model = folder / name, model
        self.shape = model.sam_encoder.shape

    def price(self, keys: Sequence[str]) -> int:
        """Bytes that these images would add to the disk."""
        missing = sum(not self._path(key).exists() for key in set(keys))
        return missing * (int(np.prod(self.shape)) * 2 + 128)

    def reserve(self, keys: Sequence[str]) -> None:
        """Say what the cache will take of the disk.

        Raises:
            ConfigError: the disk has less room.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in self.folder.iterdir():
            sweep(folder)
        price, free = self.price(keys), shutil.disk_usage(self.folder).free
        if price > free:
            raise ConfigError(
                f"embeddings of {len(set(keys)):,} images need {price:,} bytes more in '{self.folder}', where "
                f"{free:,} are free; choose a larger disk, or do without 'embeddings': they are made on the fly then"
            )
        if price:
            warnings.warn(
                f"embeddings will take {price:,} bytes in '{self.folder}', of {free:,} free", IvmWarning, stacklevel=2
            )

    def embed(self, images: Sequence[np.ndarray], keys: Sequence[str]) -> torch.Tensor:
        """SAM's embeddings, sam_BCHW float16, read where they are kept and kept where they are made.

        Args:
            images: HWC uint8 RGB.
            keys: hash of each image's file.
        """
        kept = [self._read(key) for key in keys]
        new = [k for k, embedding in enumerate(kept) if embedding is None]
        if new:
            made_NCHW = self.model.embed([images[k] for k in new]).half().cpu().numpy()
            for k, made_CHW in zip(new, made_NCHW, strict=True):
                self._write(keys[k], made_CHW)
                kept[k] = made_CHW
        return torch.from_numpy(np.stack([each for each in kept if each is not None]))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"

    def _read(self, key: str) -> np.ndarray | None:
        try:
            embedding_CHW = np.load(self._path(key), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None
        return embedding_CHW if embedding_CHW.shape == self.shape and embedding_CHW.dtype == np.float16 else None

    def _write(self, key: str, embedding_CHW: np.ndarray) -> None:
        path = self._path(key)
        with whole_file(path, swept=True) as hidden, hidden.open("wb") as file:
            np.save(file, embedding_CHW)
