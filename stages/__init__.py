"""kormed: a staged pipeline from a small Gemma to a Korean medical assistant, measured on KorMedMCQA."""
