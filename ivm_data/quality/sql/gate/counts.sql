-- Labels of each status before and after a gate, by {column}.
-- for by_source: {column} = source
-- for by_kind: {column} = kind
WITH after AS ({after})
SELECT
    {column},
    count(*) AS labels,
    count(*) FILTER (before.status = 'accepted') AS accepted,
    count(*) FILTER (after.status = 'accepted') AS accepted_after,
    count(*) FILTER (before.status = 'review') AS review,
    count(*) FILTER (after.status = 'review') AS review_after,
    count(*) FILTER (before.status = 'rejected') AS rejected,
    count(*) FILTER (after.status = 'rejected') AS rejected_after,
    count(*) FILTER (before.status = 'no_target') AS no_target,
    count(*) FILTER (after.status = 'no_target') AS no_target_after,
    count(*) FILTER (before.status = 'whole_image') AS whole_image,
    count(*) FILTER (after.status = 'whole_image') AS whole_image_after
FROM labels AS before JOIN after USING (recipe, part, position, {column})
WHERE recipe = $recipe
GROUP BY GROUPING SETS (({column}), ())
ORDER BY grouping({column}), {column}
