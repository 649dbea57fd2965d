-- What LMM endpoints were asked by each stage, and what that cost at your prices.
-- $recipe = "": only recipes whose hash starts with this
-- $prompt_price = 0.0: price of a million tokens of prompts
-- $completion_price = 0.0: price of a million tokens of answers
SELECT
    coalesce(stage, 'all') AS stage,
    sum(rows) AS rows,
    sum(requests) AS requests,
    sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens,
    (sum(prompt_tokens) * $prompt_price + sum(completion_tokens) * $completion_price) / 1e6 AS cost
FROM timings
WHERE starts_with(recipe, $recipe)
GROUP BY GROUPING SETS ((stage), ())
ORDER BY grouping(stage), cost DESC, stage
