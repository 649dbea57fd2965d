judged AS (
    -- known: a human mask can judge the label; has_mask: experts proposed one; is_right: it overlaps the human mask.
    -- A failed input without a word is 'unknown' where its source has such words, as in `acceptance_by_kind`.
    SELECT * REPLACE (
            CASE
                WHEN outcome = 'rejection' AND kind = ''
                    AND source IN (SELECT DISTINCT source FROM outcomes WHERE recipe = $recipe AND kind <> '')
                THEN 'unknown' ELSE kind
            END AS kind,
            CASE
                WHEN outcome = 'rejection' AND difficulty = ''
                    AND source IN (SELECT DISTINCT source FROM outcomes WHERE recipe = $recipe AND difficulty <> '')
                THEN 'unknown' ELSE difficulty
            END AS difficulty
        ),
        outcome = 'label' AND human_iou IS NOT NULL AND (held_out OR NOT $held_out) AS known,
        len(proposals) > 0 AS has_mask,
        human_iou >= $right AS is_right
    FROM outcomes
    WHERE recipe = $recipe
)
