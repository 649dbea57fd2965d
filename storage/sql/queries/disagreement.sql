-- Labels whose experts overlap least: the least IoU between two proposals, worst first.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 20: rows
SELECT
    sample_id,
    source,
    status,
    list_min([pair.iou FOR pair IN pairs]) AS worst_iou,
    agreement,
    quality,
    human_iou,
    instruction,
    image_uri
FROM labels
WHERE starts_with(recipe, $recipe) AND len(pairs) > 0
ORDER BY worst_iou, sample_id
LIMIT $limit
