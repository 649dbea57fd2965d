bands AS MATERIALIZED (
    -- Of bits + 1 disjoint bands of two near hashes at least one is the same: only images that share one are compared.
    -- More bits make narrower bands, and many more pairs that share one by chance.
    SELECT side, hash, band,
        (hash >> (band * (64 // ($bits + 1)))) & (18446744073709551615::UBIGINT >> (64 - 64 // ($bits + 1))) AS part
    FROM (SELECT 1 AS side, hash FROM {left} UNION ALL SELECT 2, hash FROM {right}), range($bits + 1) AS numbers(band)
),
close AS MATERIALIZED (
    SELECT DISTINCT a.hash, b.hash AS other
    FROM bands AS a JOIN bands AS b USING (band, part)
    WHERE a.side = 1 AND b.side = 2 AND bit_count(xor(a.hash, b.hash)) <= $bits
)
