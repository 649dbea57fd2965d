-- Counts, coverage, precision and IoU over all inputs, and for each value of some columns, most frequent first.
-- A failed input without a word is 'unknown' where its source has such words, as in `acceptance_by_kind`.
WITH {judged},
words AS (
    SELECT source, bool_or(kind <> '') AS has_kinds, bool_or(difficulty <> '') AS has_difficulties
    FROM outcomes
    WHERE recipe = $recipe
    GROUP BY source
),
worded AS (
    SELECT * REPLACE (
        CASE WHEN outcome = 'rejection' AND kind = '' AND has_kinds THEN 'unknown' ELSE kind END AS kind,
        CASE
            WHEN outcome = 'rejection' AND difficulty = '' AND has_difficulties THEN 'unknown' ELSE difficulty
        END AS difficulty
    )
    FROM judged JOIN words USING (source)
)
SELECT
    CASE 0
        WHEN grouping(kind) THEN 'kind' WHEN grouping(difficulty) THEN 'difficulty' WHEN grouping(source) THEN 'source'
        ELSE 'all'
    END AS grouped,
    coalesce(kind, difficulty, source, '') AS name,
    count(*) AS inputs,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'review') AS review,
    count(*) FILTER (status = 'rejected') AS rejected,
    count(*) FILTER (status = 'no_target') AS no_target,
    count(*) FILTER (status = 'whole_image') AS whole_image,
    count(*) FILTER (outcome = 'rejection') AS rejections,
    count(*) FILTER (status = 'accepted') / count(*) AS coverage,
    count(*) FILTER (known) AS known,
    count(*) FILTER (known AND has_mask) AS known_masks,
    count(*) FILTER (known AND status = 'accepted') AS known_accepted,
    avg(is_right::INT) FILTER (known AND has_mask) AS precision_all,
    avg(is_right::INT) FILTER (known AND status = 'accepted') AS precision_accepted,
    avg(is_right::INT) FILTER (known AND status = 'no_target') AS precision_no_target,
    avg(human_iou) FILTER (known AND has_mask) AS iou_all,
    avg(human_iou) FILTER (known AND status = 'accepted') AS iou_accepted
FROM worded
GROUP BY GROUPING SETS ((), (kind), (difficulty), (source))
ORDER BY inputs DESC, name
