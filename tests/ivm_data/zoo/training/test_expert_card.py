import numpy as np
from safetensors.numpy import save_file

from ivm_data.zoo.training.expert_card import count_parameters, write_card


def test_a_card_tells_scores_settings_minutes_and_parameters(tmp_path):
    save_file({"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)}, tmp_path / "model.safetensors")
    path = write_card(tmp_path, "Toy", "A toy.", {"top-1": 0.91234}, {"steps": 7}, 12.4)
    text = path.read_text()
    assert path.name == "README.md" and text.startswith("# Toy\n\nA toy.\n")
    assert "Parameters: 10." in text and "12 minutes" in text
    assert "| top-1 | 0.912 |" in text and "| steps | 7 |" in text


def test_parameters_are_counted_from_the_header(tmp_path):
    save_file({"w": np.zeros((5, 4, 3), np.float32)}, tmp_path / "m.safetensors")
    assert count_parameters(tmp_path / "m.safetensors") == 60
