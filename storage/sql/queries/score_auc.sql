-- Which score knows a right label from a wrong one? AUC of every score against human IoU (0.5 = chance, to 4 digits).
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: a label counts as right from this IoU with the human mask
WITH scores AS (
    UNPIVOT (
        SELECT human_iou >= $iou AS is_right, COLUMNS([
            'understood', 'presence', 'grounding', 'margin', 'candidate', 'relation', 'predicted_iou', 'stability',
            'agreement', 'area_ratio', 'witnessed', 'in_context', 'p_yes_kept', 'p_yes_complement', 'verification',
            'consistency', 'quality'
        ])
        FROM labels
        WHERE starts_with(recipe, $recipe) AND human_iou IS NOT NULL
    )
    ON COLUMNS(* EXCLUDE (is_right)) INTO NAME score VALUE value
),
steps AS (
    SELECT
        score,
        round(value, 4) AS step,
        count(*) FILTER (is_right) AS hits,
        count(*) FILTER (NOT is_right) AS misses
    FROM scores
    GROUP BY ALL
),
-- A right label outranks every wrong one below it, and half of those it is level with.
ranked AS (
    SELECT *, sum(misses) OVER (PARTITION BY score ORDER BY step) - misses / 2 AS outranked
    FROM steps
)
SELECT
    score,
    sum(hits)::BIGINT AS right_ones,
    sum(misses)::BIGINT AS wrong_ones,
    sum(hits * outranked) / nullif(sum(hits) * sum(misses), 0) AS auc
FROM ranked
GROUP BY score
ORDER BY auc DESC NULLS LAST, score
