-- The measured votes of a recipe's labels, with the experts in the order of their bits.
SELECT m.votes, [p.expert FOR p IN l.proposals] AS experts
FROM labels AS l JOIN measures AS m USING (recipe, sample_id)
WHERE l.recipe = $recipe AND len(l.proposals) > 1
ORDER BY l.sample_id
