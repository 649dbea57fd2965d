"""LeRobot v3.0: the data set that labels' frames are of, with masked videos and masks as further features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ivm_data.exports.export_format import Counts, Item
from ivm_data.exports.frame_masks import FrameMasks, frame_of, recording
from ivm_data.exports.lerobot_episodes import EpisodeExport
from ivm_data.exports.lerobot_features import Hide, MaskedCamera
from ivm_data.exports.lerobot_files import write_card
from ivm_data.exports.lerobot_gaps import Fill, Gaps
from ivm_data.sources.foreign.common.foreign_reader import existing
from ivm_data.sources.foreign.robots.lerobot import episode_name
from ivm_data.sources.foreign.robots.lerobot_folder import LerobotFolder
from storage.common.validation import Checked, Share
from storage.errors import ConfigError


@dataclass(frozen=True)
class LerobotOptions(Checked):
    """Which data set, and how its frames are masked.

    Attributes:
        folder: the LeRobot set that was imported.
        images: the same folder relative to the image root, as it was given to `ivm import`.
        camera: one camera, `observation.images.cam_high` or `cam_high`; "" for all that lie in videos.
        how: what becomes of the pixels that are not needed, as in `ivm mask --how`.
        replace: the masked video takes the camera's place; else it is the feature `CAMERA_masked` beside it.
        gaps: an episode with a frame that has no mask is left out (`omit`); or such a frame is shown whole, or hidden,
            or masks are carried to it from the labeled frames before and after it (`track`).
        tracker: the expert that carries them, with its options as in `sam2-video?path=facebook/sam2.1-hiera-large`.
        consistency: least IoU of the masks that are carried to a frame from both sides; an episode with a frame that
            has less is left out.
    """

    folder: str = ""
    images: str = ""
    camera: str = ""
    how: Hide = "overlay"
    replace: bool = False
    gaps: Gaps = "omit"
    tracker: str = "flow"
    consistency: Share = 0.0


def write_lerobot(items: Iterable[Item], folder: Path, options: LerobotOptions) -> Counts:
    """LeRobot: the imported set as v3.0, each camera masked (`CAMERA_masked`) and its masks as images in the rows.

    Loses: instruction (the episode's task stays), quality, proposals, heatmap
    """
    if not options.folder:
        raise ConfigError("say which LeRobot set was labeled: --set folder=sets/g1 --set images=g1, as it was imported")
    source = LerobotFolder(existing(options.folder, "folder", folder=True))
    counts = Counts()
    with FrameMasks(folder / "masks.sqlite") as masks:
        for item in items:
            counts.left_out += 1
            if place := _place(item, options):
                masks.add(*place, item.mask, bool(item.label.tracked_from) and item.mask_by == "engine")
        cameras = [MaskedCamera(key, options.replace) for key in _cameras(source, options.camera)]
        fill = Fill(options.gaps, options.tracker, options.consistency)
        with EpisodeExport(source, folder, masks, cameras, options.images, options.how, fill) as export:
            export.run()
        if not export.episodes:
            raise ConfigError(_nothing(options, export, masks))
    counts.labels, counts.no_target, counts.images = export.labels, export.absent, export.masked
    counts.left_out -= export.labels + export.absent
    write_card(folder, _card(options, export))
    return counts


def _place(item: Item, options: LerobotOptions) -> tuple[str, int] | None:
    """(recording, number of the frame): by the row's episode, where that is one of this set, else by its address."""
    sample = item.label.sample
    moment = sample.moment
    if moment is not None and moment.frame is not None:
        number = moment.episode.rpartition("/")[2]
        if number.isdecimal() and moment.episode == episode_name(options.folder, options.images, int(number)):
            return recording(moment.episode, moment.camera), moment.frame
    return frame_of(sample.image_uri)


def _cameras(source: LerobotFolder, wanted: str) -> list[str]:
    """The cameras that lie in videos.

    Raises:
        ConfigError: none does.
    """
    known = source.cameras(wanted)
    found = [key for key, kind in known.items() if kind == "video"]
    if not found:
        raise ConfigError(
            f"the images of {', '.join(known)} lie in the rows of '{source.folder}'; only videos are masked"
        )
    return found


def _nothing(options: LerobotOptions, export: EpisodeExport, masks: FrameMasks) -> str:
    """Why no episode could be written, and what to do."""
    videos = masks.videos()
    if not any(video in videos for video in export.videos | export.recordings):
        seen = f"they are of '{next(iter(videos))}'" if videos else "none is of a frame of a video"
        return (
            f"no label is of a frame of '{options.folder}': {seen}, and its videos are such as "
            f"'{next(iter(export.videos), 'none')}'; give the same --set folder= and --set images= as to ivm import"
        )
    episode, why = next(iter(export.left_out.items()))
    return f"no episode of '{options.folder}' can be written; episode {episode}: {why}"


def _card(options: LerobotOptions, export: EpisodeExport) -> str:
    lines = [
        f"{export.episodes} episodes, {export.frames} frames, masked with `{options.how}` by the IVM Engine.",
        "",
        *(f"- `{camera.key}`: {camera.told}" for camera in export.cameras),
    ]
    if export.left_out:
        lines += ["", "Episodes of the source that are left out:", ""]
        lines += [f"- {episode}: {why}" for episode, why in export.left_out.items()]
    return "\n".join(lines)
