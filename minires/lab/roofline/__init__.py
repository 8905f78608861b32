"""Which operators wait for arithmetic, and which for memory?"""
