-- Labels that the gate rejected, least quality first, to look at with their images.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 24: rows
SELECT sample_id, image_uri, instruction, source, reason, quality, verification, agreement, area_ratio, human_iou
FROM labels
WHERE starts_with(recipe, $recipe) AND status = 'rejected'
ORDER BY quality NULLS LAST, sample_id
LIMIT $limit
