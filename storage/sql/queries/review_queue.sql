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
-- disagreement of the experts, 1 - their mean pairwise IoU (query by committee: Seung, Opper and Sompolinsky 1992).
WITH opinion AS (
    SELECT recipe, sample_id, avg(d) AS d
    FROM weights
    WHERE $discriminator IN ('', discriminator)
    GROUP BY ALL
),
entropies AS (
    SELECT
        recipe, part, position, sample_id, source, kind, status, quality, verification, agreement, d, instruction,
        [
            CASE WHEN p BETWEEN 1e-9 AND 1 - 1e-9 THEN -p * log2(p) - (1 - p) * log2(1 - p) ELSE p * 0 END
            FOR p IN [quality, verification, d]
        ] AS entropy
    FROM labels LEFT JOIN opinion USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe)
        AND ($above <= 0 OR quality >= $above)
        AND $status IN ('', status) AND $source IN ('', source) AND $kind IN ('', kind)
        AND NOT EXISTS (
            FROM opinions AS o
            WHERE o.reviewer = $reviewer AND (o.recipe, o.sample_id) = (labels.recipe, labels.sample_id)
        )
)
SELECT
    coalesce(list_avg(list_append(entropy, 1 - agreement)), 0) AS information,
    entropy[1] AS quality_entropy,
    entropy[2] AS verification_entropy,
    entropy[3] AS d_entropy,
    1 - agreement AS disagreement,
    sample_id,
    recipe,
    part,
    source,
    kind,
    status,
    instruction
FROM entropies
ORDER BY CASE WHEN $random THEN 0 ELSE -information END, CASE WHEN $random THEN md5(sample_id || $seed) END, recipe, part, position
LIMIT $limit
