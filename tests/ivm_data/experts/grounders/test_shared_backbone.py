import numpy as np
import torch

from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.experts.grounders.shared_backbone import LastImage, distinct_images
from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.embedded import WEIGHTS

PHRASES = [["red ring"], ["green star", "ring"], ["blue square"], ["red ring"]]


def test_neighbours_that_are_equal_are_one_image():
    first, second = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    assert distinct_images(torch.stack([first, first, second, first])) == ([0, 2, 3], [0, 0, 1, 2])
    assert distinct_images(first[None]) == ([0], [0])


def test_four_instructions_about_an_image_need_one_pass_of_the_backbone_and_get_what_each_gets_alone():
    grounder = GroundingDino(GroundingDinoConfig(str(WEIGHTS / "grounder"), box_threshold=0.05))
    grounder.load()
    scenes = [draw_scene("val", index).image_HWC for index in (5000, 5001)]
    images = [scenes[0]] * 4 + [scenes[1]] * 4
    seen = []
    backbone = grounder._model.model.backbone.conv_encoder.model
    hook = backbone.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    together = grounder.ground(images, PHRASES * 2)
    hook.remove()
    assert seen == [2]
    for image, asked, row in zip(images, PHRASES * 2, together, strict=True):
        (alone,) = grounder.ground([image], [asked])
        assert [hit.phrase for hit in row] == [hit.phrase for hit in alone] and row
        assert np.allclose([hit.score for hit in row], [hit.score for hit in alone], atol=1e-4)


def test_the_last_image_is_remembered_until_its_pixels_or_its_mask_change():
    image_BCHW, mask_BHW = torch.rand(1, 3, 4, 4), torch.ones(1, 4, 4)
    seen = []

    def compute(*given):
        seen.append(given)
        return [given]

    last = LastImage()
    other_BCHW, other_BHW = image_BCHW + 1, mask_BHW * 0
    again = (image_BCHW.clone(), mask_BHW.clone())
    for image, mask in ((image_BCHW, mask_BHW), again, (image_BCHW, other_BHW), (other_BCHW, other_BHW)):
        ((found_image, found_mask),) = last.levels(compute, image, mask)
        assert torch.equal(found_image, image) and torch.equal(found_mask, mask)
    assert len(seen) == 3
    pair_BCHW, pair_BHW = image_BCHW.repeat(2, 1, 1, 1), mask_BHW.repeat(2, 1, 1)
    for _ in range(2):
        last.levels(compute, pair_BCHW, pair_BHW)
    assert len(seen) == 5
