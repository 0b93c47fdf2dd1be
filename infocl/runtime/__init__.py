"""How stages run, never what they compute: no stage depends on this room."""
