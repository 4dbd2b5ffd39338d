"""Sets of surveillance cameras, QMUL-SurvFace and IJB-S: their layouts read, and what their protocols compute."""
