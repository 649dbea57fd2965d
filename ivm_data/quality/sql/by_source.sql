-- What a rule finds, by source.
WITH found AS ({rule})
SELECT
    source, count(*) AS labels, count(value) AS found, count(value) / count(*) AS share,
    count(value) FILTER (status = 'accepted') AS accepted,
    avg(human_iou) FILTER (value IS NOT NULL) AS human_iou_found,
    avg(human_iou) FILTER (value IS NULL) AS human_iou_others
FROM labels LEFT JOIN found USING (recipe, sample_id)
GROUP BY source
ORDER BY found DESC, source
