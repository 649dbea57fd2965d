-- Samples that one recipe labelled more than once, with the parts they are in; one of the labels counts.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 100: rows
WITH every AS (
    SELECT recipe, sample_id, part FROM labels
    UNION ALL
    SELECT recipe, sample_id, part FROM superseded WHERE outcome = 'label'
)
SELECT recipe, sample_id, count(*) AS labels, list_sort(list(part)) AS parts
FROM every
WHERE starts_with(recipe, $recipe)
GROUP BY recipe, sample_id
HAVING count(*) > 1
ORDER BY labels DESC, recipe, sample_id
LIMIT $limit
