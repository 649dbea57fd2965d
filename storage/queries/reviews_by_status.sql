-- What people said about the labels, by the gate's decision; the latest review of a person counts.
-- $recipe = "": only recipes whose hash starts with this
WITH latest AS (
    SELECT recipe, sample_id, reviewer, arg_max(verdict, reviewed_at) AS verdict
    FROM reviews
    GROUP BY ALL
)
SELECT
    status,
    count(*) AS reviews,
    count(*) FILTER (verdict = 'right') AS right_ones,
    count(*) FILTER (verdict = 'wrong') AS wrong_ones,
    count(*) FILTER (verdict = 'unsure') AS unsure,
    count(*) FILTER (verdict = 'right') / nullif(count(*) FILTER (verdict <> 'unsure'), 0) AS precision
FROM latest JOIN labels USING (recipe, sample_id)
WHERE starts_with(recipe, $recipe)
GROUP BY status
ORDER BY status
