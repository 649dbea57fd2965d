-- The same for each value of a column, most frequent first.
WITH {judged}
SELECT
    {column} AS name,
    {counts}
FROM judged
GROUP BY 1
ORDER BY inputs DESC, 1
