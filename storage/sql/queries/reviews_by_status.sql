-- What people said about the labels, by the gate's decision; the latest review of a person counts.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    status,
    count(*) AS reviews,
    count(*) FILTER (verdict = 'right') AS right_ones,
    count(*) FILTER (verdict = 'wrong') AS wrong_ones,
    count(*) FILTER (mask IS NOT NULL) AS corrected,
    count(*) FILTER (verdict = 'wrong_instruction') AS wrong_instructions,
    count(*) FILTER (verdict = 'unsure') AS unsure,
    count(*) FILTER (verdict = 'right') / nullif(count(*) FILTER (verdict IN ('right', 'wrong')), 0) AS precision
FROM opinions JOIN labels USING (recipe, sample_id)
WHERE starts_with(recipe, $recipe)
GROUP BY status
ORDER BY status
