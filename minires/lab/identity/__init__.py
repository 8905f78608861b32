"""Is the identity hard to learn, and where does the idea of fitting what is left come from?"""
