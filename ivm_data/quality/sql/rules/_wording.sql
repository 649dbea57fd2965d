-- `translate` takes longer than all the rest, so it is left to the few instructions with other marks than full stops.
CASE
    WHEN contains(instruction, ',') OR contains(instruction, '-') OR contains(instruction, '''')
        OR contains(instruction, '?') OR contains(instruction, '!') OR contains(instruction, '"')
        OR contains(instruction, '(') OR contains(instruction, ')')
        OR contains(instruction, ':') OR contains(instruction, ';')
    THEN translate(lower(instruction), ' .,;:!?()-"''', '')
    ELSE replace(replace(lower(instruction), ' ', ''), '.', '')
END
