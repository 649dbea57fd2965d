-- Which score knows a right label from a wrong one? AUC of every score against human IoU (0.5 = chance).
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: a label counts as right from this IoU with the human mask
WITH scores AS (
    UNPIVOT (
        SELECT human_iou >= $iou AS is_right, understood, presence, grounding, margin, candidate, relation, predicted_iou, stability, agreement,
            area_ratio, p_yes_kept, p_yes_complement, verification, quality
        FROM labels
        WHERE starts_with(recipe, $recipe) AND human_iou IS NOT NULL
    )
    ON COLUMNS(* EXCLUDE (is_right)) INTO NAME score VALUE value
),
ranked AS (
    SELECT
        score,
        is_right,
        rank() OVER (PARTITION BY score ORDER BY value) + (count(*) OVER (PARTITION BY score, value) - 1) / 2 AS mean_rank
    FROM scores
),
counted AS (
    SELECT
        score,
        count(*) FILTER (is_right) AS right_ones,
        count(*) FILTER (NOT is_right) AS wrong_ones,
        sum(mean_rank) FILTER (is_right) AS rank_sum
    FROM ranked
    GROUP BY score
)
SELECT
    score,
    right_ones,
    wrong_ones,
    (rank_sum - right_ones * (right_ones + 1) / 2) / nullif(right_ones * wrong_ones, 0) AS auc
FROM counted
ORDER BY auc DESC NULLS LAST, score
