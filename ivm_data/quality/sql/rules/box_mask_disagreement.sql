-- Masks that lie elsewhere than the boxes that they were made from: IoU of the two extents.
-- scope: mask
-- reason: extent overlaps the chosen boxes' by IoU {value:.2f}, limit {iou}
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: found below this
WITH boxes AS (
    SELECT recipe, sample_id, extent,
        [c.box FOR c IN candidates IF c.chosen AND c.role = 'target'] AS chosen
    FROM labels JOIN measures USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe) AND extent IS NOT NULL
),
sides AS (
    SELECT recipe, sample_id, extent AS m, {
        'x0': list_min([b.x0 FOR b IN chosen]), 'y0': list_min([b.y0 FOR b IN chosen]),
        'x1': list_max([b.x1 FOR b IN chosen]), 'y1': list_max([b.y1 FOR b IN chosen])
    } AS b
    FROM boxes WHERE len(chosen) > 0
),
areas AS (
    SELECT recipe, sample_id, (m.x1 - m.x0) * (m.y1 - m.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) AS total,
        greatest(0, least(m.x1, b.x1) - greatest(m.x0, b.x0)) * greatest(0, least(m.y1, b.y1) - greatest(m.y0, b.y0))
            AS shared
    FROM sides
)
SELECT recipe, sample_id, shared / (total - shared) AS value FROM areas WHERE shared < $iou * (total - shared)
