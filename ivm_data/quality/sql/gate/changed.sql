-- Some of the labels that change their status, an even choice.
WITH after AS ({after})
SELECT
    before.sample_id, before.source, before.status AS before, after.status AS after,
    before.quality AS quality_before, after.quality AS quality_after, before.human_iou, before.instruction,
    before.image_uri
FROM labels AS before JOIN after USING (recipe, part, position)
WHERE recipe = $recipe AND before.status <> after.status
ORDER BY md5(before.sample_id), before.sample_id
LIMIT {limit}
