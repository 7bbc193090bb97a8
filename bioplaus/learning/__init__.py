"""Learning: a batch (sequence), a learner (trainer), and how it is trained (training)."""
