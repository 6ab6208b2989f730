"""Parts of the Affective Process (paper 000): settings, contexts, attention, terms of its loss."""
