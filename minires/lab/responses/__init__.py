"""How strongly does each layer respond?"""
