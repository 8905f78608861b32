"""Is degradation a matter of vanishing gradients, of shattered ones, or of hard identities?"""
