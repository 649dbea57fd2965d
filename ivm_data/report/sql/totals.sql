-- Counts, coverage, precision and IoU over all inputs.
WITH {judged}
SELECT
    {counts},
    count(DISTINCT part) AS parts
FROM judged
