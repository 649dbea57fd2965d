-- Samples that one recipe labelled more than once, with the parts they are in; a sound data set has none.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 100: rows
SELECT recipe, sample_id, count(*) AS labels, list_sort(list(part)) AS parts
FROM labels
SEMI JOIN (
    SELECT recipe, sample_id FROM labels WHERE starts_with(recipe, $recipe) GROUP BY ALL HAVING count(*) > 1
) AS repeated USING (recipe, sample_id)
GROUP BY ALL
ORDER BY labels DESC, recipe, sample_id
LIMIT $limit
