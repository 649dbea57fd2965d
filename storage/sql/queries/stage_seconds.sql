-- Where the time goes: seconds of each stage over all parts, its share, milliseconds a row, and parts of large pictures seen.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    stage,
    count(*) AS parts,
    sum(seconds) AS seconds,
    sum(seconds) / nullif(sum(sum(seconds)) OVER (), 0) AS share,
    1000 * sum(seconds) / nullif(sum(rows), 0) AS ms_per_row,
    coalesce(sum(tiles), 0) AS tiles,
    median(seconds) AS part_median,
    max(seconds) AS part_max
FROM timings
WHERE starts_with(recipe, $recipe)
GROUP BY stage
ORDER BY seconds DESC, stage
