pictures AS MATERIALIZED (
    SELECT recipe, sample_id, m.image_sha, m.image_hash AS hash, held_out,
        CASE WHEN held_out THEN 'a' WHEN has_human THEN 'b' ELSE 'c' END || m.image_sha AS rank
    FROM measures AS m JOIN labels USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe) AND m.image_hash IS NOT NULL {only}
)
