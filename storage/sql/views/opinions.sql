-- the current review of each person and label; join it with labels on (recipe, sample_id)
-- columns: reviews
SELECT sample_id, recipe, reviewer, unnest(latest)
FROM (
    SELECT sample_id, recipe, reviewer, max_by(struct_pack(verdict, note, reviewed_at, mask, drawn), reviewed_at) AS latest
    FROM reviews_files GROUP BY ALL
)
WHERE latest.verdict <> 'withdrawn'
