-- labels that cleaning keeps out of use; join it with labels on (recipe, sample_id)
-- column recipe: recipe of the label
-- column sample_id: sample of the label
-- column scope: 'mask': the engine's mask alone, or 'sample': image and instruction, any mask
-- column excluded_by: the rules that exclude it
-- column reasons: what they saw
SELECT
    recipe, sample_id,
    CASE WHEN bool_or(scope = 'sample') THEN 'sample' ELSE 'mask' END AS scope,
    list(rule ORDER BY rule) AS excluded_by,
    string_agg(reason, '; ' ORDER BY rule) AS reasons
FROM (
    SELECT recipe, sample_id, rule, max_by(struct_pack(verdict, scope, reason), decided_at) AS latest
    FROM decisions_files GROUP BY ALL
) AS of_rule, LATERAL (SELECT latest.verdict, latest.scope, latest.reason)
WHERE verdict = 'exclude'
GROUP BY recipe, sample_id
