"""The pipeline's nouns: values in, values out. Only models, generation and training import torch."""
