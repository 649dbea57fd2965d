-- Labels that two people reviewed: what each said, and the IoU of their masks where both made one.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 1000000: rows
SELECT
    a.recipe,
    a.sample_id,
    a.reviewer AS first,
    b.reviewer AS second,
    a.verdict AS first_verdict,
    b.verdict AS second_verdict,
    rle_iou(a.mask.counts, b.mask.counts, a.mask.height, a.mask.width) AS iou
FROM opinions AS a JOIN opinions AS b USING (recipe, sample_id)
WHERE starts_with(a.recipe, $recipe) AND a.reviewer < b.reviewer
ORDER BY a.reviewer, b.reviewer, a.recipe, a.sample_id
LIMIT $limit
