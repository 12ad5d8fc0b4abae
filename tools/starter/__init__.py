"""How the bundled starter was made: pairs, a teacher's vectors of them, a student that learns both."""
