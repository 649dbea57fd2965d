-- {what}
-- for candidates: {column} = candidates; {what} = every box that a grounder found for a label
-- for proposals: {column} = proposals; {what} = every mask that an expert proposed for a label, without its pixels
-- for lineage: {column} = experts; {what} = every model@revision that took part in a label, by its role
-- columns: light, light.{column}
-- column rank: index in the label's list, from 0
SELECT
    recipe, part, position, sample_id, source, kind, status, held_out,
    generate_subscripts({column}, 1) - 1 AS rank,
    unnest({column}, max_depth := 2)
FROM light_files
WHERE outcome = 'label'
