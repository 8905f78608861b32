"""Can a net be too deep for its images?"""
