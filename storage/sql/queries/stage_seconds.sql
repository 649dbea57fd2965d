-- Where the time goes: seconds of each stage over all parts, its share, and milliseconds a row.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    stage,
    count(*) AS parts,
    sum(seconds) AS seconds,
    sum(seconds) / nullif(sum(sum(seconds)) OVER (), 0) AS share,
    1000 * sum(seconds) / nullif(sum(rows), 0) AS ms_per_row,
    median(seconds) AS part_median,
    max(seconds) AS part_max
FROM timings
WHERE starts_with(recipe, $recipe)
GROUP BY stage
ORDER BY seconds DESC, stage
