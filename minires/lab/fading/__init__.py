"""How much of a shortcut does a residual net need?"""
