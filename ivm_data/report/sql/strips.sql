-- A few recordings (an episode's camera and what is asked of it), chosen at random but always the same; of each up to
-- $frames of its labels, evenly spread in time.
WITH in_time AS (
    SELECT
        part, position,
        md5(concat_ws(chr(10), source, episode, camera, instruction)) AS recording,
        row_number() OVER (PARTITION BY source, episode, camera, instruction ORDER BY frame, sample_id) - 1 AS step,
        count(*) OVER (PARTITION BY source, episode, camera, instruction) - 1 AS last
    FROM labels
    WHERE recipe = $recipe AND episode IS NOT NULL AND frame IS NOT NULL
),
steps AS (
    SELECT unnest(range($frames)) AS number
),
chosen AS (
    SELECT DISTINCT part, position, recording, step
    FROM in_time JOIN steps ON step = round(number * last / greatest($frames - 1, 1))
)
SELECT part, position, dense_rank() OVER (ORDER BY recording) AS place
FROM chosen
QUALIFY place <= $each
ORDER BY place, step
