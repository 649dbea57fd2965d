-- Labels that change their status, with the share of those with a human mask that are right.
WITH after AS ({after})
SELECT
    before.status AS before, after.status AS after, after.reason AS reason, count(*) AS labels,
    count(before.human_iou) AS judged, avg((before.human_iou >= 0.5)::INTEGER) AS right_share
FROM labels AS before JOIN after USING (recipe, part, position)
WHERE recipe = $recipe AND before.status <> after.status
GROUP BY ALL
ORDER BY labels DESC, before, after, reason
