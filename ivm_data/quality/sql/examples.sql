-- Some of the labels that a rule finds, an even choice.
WITH found AS ({rule})
SELECT sample_id, source, status, value, quality, human_iou, instruction, image_uri
FROM labels JOIN found USING (recipe, sample_id)
ORDER BY hash(sample_id), sample_id
LIMIT {limit}
