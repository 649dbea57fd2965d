-- What people said of labels, and how these came before them; who is unsure does not call a label right.
SELECT
    sample_id, verdict = 'right' AS is_right,
    coalesce(drawn."order" = 'random' AND drawn.status = '', false) AS is_random,
    drawn.source AS source, drawn.kind AS kind, drawn.above AS above, drawn.quality AS quality
FROM opinions
WHERE recipe = $recipe
ORDER BY sample_id, reviewer
