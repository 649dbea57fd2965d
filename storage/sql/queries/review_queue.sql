-- What to review next: most informative first, by uncertainty sampling and query by committee, or in random order.
-- $recipe = "": only recipes whose hash starts with this
-- $reviewer = "": leave out what this person has an opinion of
-- $discriminator = "": whose D counts; without it the mean of all
-- $random = false: random order instead of the ranking
-- $seed = 0: of the random order
-- $status = "": only labels of this status
-- $source = "": only labels of this source
-- $kind = "": only labels of this kind
-- $above = 0.0: only labels of this quality or a higher one
-- $limit = 100: rows
-- information is the mean of what is known of: the binary entropies H(p) = -p log2 p - (1 - p) log2(1 - p) of quality, of
-- verification and of D (uncertainty sampling: Lewis and Gale 1994; entropy: Settles 2009, section 3.1), and the
-- disagreement of the experts, 1 - their mean pairwise IoU (query by committee: Seung, Opper and Sompolinsky 1992); of a
-- frame of an episode also 1 - its consistency in time.
-- Keys and numbers alone are ranked, in columns, not in a list; reviews in an anti-join: NOT EXISTS keeps every row.
WITH opinion AS (
    SELECT recipe, sample_id, avg(d) AS d
    FROM weights
    WHERE $discriminator IN ('', discriminator)
    GROUP BY ALL
),
chances AS (
    SELECT
        recipe, part, position, sample_id,
        quality::DOUBLE AS q, verification::DOUBLE AS v, d, 1 - agreement AS disagreement,
        1 - consistency AS inconsistency
    FROM labels
    LEFT JOIN opinion USING (recipe, sample_id)
    ANTI JOIN (FROM opinions WHERE reviewer = $reviewer) USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe)
        AND ($above <= 0 OR quality >= $above)
        AND $status IN ('', status) AND $source IN ('', source) AND $kind IN ('', kind)
),
entropies AS (
    SELECT
        *,
        CASE WHEN q BETWEEN 1e-9 AND 1 - 1e-9 THEN -q * log2(q) - (1 - q) * log2(1 - q) ELSE q * 0 END AS quality_entropy,
        CASE WHEN v BETWEEN 1e-9 AND 1 - 1e-9 THEN -v * log2(v) - (1 - v) * log2(1 - v) ELSE v * 0 END AS verification_entropy,
        CASE WHEN d BETWEEN 1e-9 AND 1 - 1e-9 THEN -d * log2(d) - (1 - d) * log2(1 - d) ELSE d * 0 END AS d_entropy,
        5 - (q IS NULL)::INT - (v IS NULL)::INT - (d IS NULL)::INT
            - (disagreement IS NULL)::INT - (inconsistency IS NULL)::INT AS known
    FROM chances
),
firsts AS MATERIALIZED (
    SELECT
        recipe, part, position, quality_entropy, verification_entropy, d_entropy, disagreement, inconsistency,
        CASE WHEN known = 0 THEN 0 ELSE (
            coalesce(quality_entropy, 0) + coalesce(verification_entropy, 0) + coalesce(d_entropy, 0)
            + coalesce(disagreement, 0) + coalesce(inconsistency, 0)
        ) / known END AS information
    FROM entropies
    ORDER BY CASE WHEN $random THEN 0 ELSE -information END, CASE WHEN $random THEN md5(sample_id || $seed) END, recipe, part, position
    LIMIT $limit
)
SELECT
    information,
    quality_entropy,
    verification_entropy,
    d_entropy,
    disagreement,
    inconsistency,
    sample_id,
    recipe,
    part,
    source,
    kind,
    status,
    instruction
FROM labels JOIN firsts USING (recipe, part, position)
ORDER BY CASE WHEN $random THEN 0 ELSE -information END, CASE WHEN $random THEN md5(sample_id || $seed) END, recipe, part, position
