"""What may stand on a shortcut, and where may activations go?"""
