-- Where masks jump from one labeled frame to the next, by episode, camera and task; most flicker first.
-- change: mean of 1 - IoU of the masks of successive labeled frames; it grows with motion.
-- flicker: mean of what the frames before and after overlap each other more than the one between, in IoU; steady motion has none.
-- worst: the frame with most of it.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 100: rows
WITH frames AS (
    SELECT recipe, episode, camera, instruction, frame, mask, m.height, m.width
    FROM labels JOIN masks AS m USING (recipe, part, position)
    WHERE starts_with(recipe, $recipe) AND frame IS NOT NULL AND episode IS NOT NULL
),
three AS (
    SELECT *, lag(mask) OVER w AS mask_before, lead(mask) OVER w AS mask_after
    FROM frames
    WINDOW w AS (PARTITION BY recipe, episode, camera, instruction, height, width ORDER BY frame)
),
shared AS (
    SELECT
        recipe, episode, camera, instruction, frame,
        rle_iou(mask_before, mask, height, width) AS before,
        rle_iou(mask, mask_after, height, width) AS behind,
        rle_iou(mask_before, mask_after, height, width) AS across
    FROM three
),
jumps AS (
    SELECT *, greatest(across - (before + behind) / 2, 0) AS flicker
    FROM shared
)
SELECT
    recipe, episode, camera, instruction AS task, count(*) AS frames,
    1 - avg(before) AS change, avg(flicker) AS flicker, arg_max(frame, flicker) AS worst
FROM jumps
GROUP BY recipe, episode, camera, instruction
ORDER BY flicker DESC NULLS LAST, recipe, episode, camera, task
LIMIT $limit
